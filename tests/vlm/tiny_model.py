"""A tiny Gemma 3 of the real classes, made on the spot: random weights, its own tokenizer, adapters that differ.

    base = make_base(folder / "base")
    lora = make_adapter(base, folder / "lora")

Nothing is trained. Making one takes a third of a second; the fixture `tiny_folder` (tests/conftest.py) has all of
them for a whole test run.
"""

import json
import random
import re
from pathlib import Path

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- if messages[0]['content'] is string -%}{%- set before = messages[0]['content'] + '\n\n' -%}"
    "{%- else -%}{%- set before = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}"
    "{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set before = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for message in turns -%}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif -%}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' "
    "+ (before if loop.first else '') }}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- else -%}{%- for item in message['content'] -%}"
    "{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}"
    "{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<end_of_turn>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
IMAGE_PX, PATCH_PX, IMAGE_TOKENS = 56, 14, 4
TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
_MARKS = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")


_RARE = re.compile(r"<0x..>|<unused\d>|<(pad|bos|unk|mask|start_of_turn|.*image.*)>")
_WORDS = """
move the gripper forward back left right up down slightly to and close open it is what colour red blue green cube carrot
how many are there left of yes no Grasp Lift Place task subtask step robot arm table image on in
"""


def make_base(
    folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 4, heads: int = 4, window: int = 256
) -> Path:
    """Write a Gemma 3 with random weights and its processor; another seed gives other weights of the same shape."""
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokenizer = make_tokenizer()
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in _MARKS}
    ends = [tokenizer.eos_token_id, ids["<end_of_turn>"]]
    config = Gemma3Config(
        text_config={
            "vocab_size": len(tokenizer) + 5,  # like Gemma's: a few rows more than the tokenizer has entries
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": window,
            "max_position_embeddings": 2048,
            "layer_types": ["full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)],
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": ends,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": IMAGE_PX,
            "patch_size": PATCH_PX,
            "vision_use_head": False,
        },
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        eos_token_id=ends,
        pad_token_id=0,
        bos_token_id=2,
    )
    torch.manual_seed(seed)
    model = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():  # the defaults (zero projector, small weights) would make every answer nearly the same
        torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.5)
        for name, weight in model.model.language_model.named_parameters():
            if name.endswith("proj.weight"):
                torch.nn.init.normal_(weight, std=1.5 * weight.shape[1] ** -0.5)
        rare = [number for token, number in tokenizer.get_vocab().items() if _RARE.fullmatch(token)]
        model.get_input_embeddings().weight[rare] *= 0.05  # its answers are mostly words
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = 0
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": IMAGE_PX, "width": IMAGE_PX}),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
        image_seq_length=IMAGE_TOKENS,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_tokenizer():
    """A GemmaTokenizer with byte fallback, a token for every digit and bracket, and `<unused0>` to `<unused9>`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import AddedToken, GemmaTokenizer

    rng = random.Random(0)
    words = re.findall(r"\S+", _WORDS)
    texts = [" ".join(rng.choices(words, k=12)) for _ in range(400)]
    texts += [
        str([[rng.randint(-20, 20) / 2 for _ in range(3)] + [rng.randint(0, 1)] for _ in range(4)]) for _ in range(200)
    ]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *_MARKS, "\n"]
    special += [f"<unused{n}>" for n in range(10)] + [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n+|\d|[\[\](),.;:?-]"), "isolated"),
            pre_tokenizers.Split("▁", "merged_with_next"),
        ]
    )
    letters = [chr(code) for code in range(33, 127)]
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=640, special_tokens=special, initial_alphabet=letters, show_progress=False),
    )
    table = json.loads(learner.to_str())["model"]
    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = GemmaTokenizer(
        vocab=table["vocab"], merges=[tuple(merge) for merge in table["merges"]], extra_special_tokens=names, **names
    )
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in _MARKS[:2]], special_tokens=True)
    tokenizer.add_tokens([AddedToken(f"<unused{n}>", special=False, normalized=False) for n in range(10)])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_adapter(base: Path, folder: Path, *, seed: int = 1, scale: float = 0.4, rank: int = 4, **config) -> Path:
    """Write LoRA weights on the language model; with scale 0 they change nothing, else B is random, not zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(base)
    torch.manual_seed(seed)
    settings = {"r": rank, "lora_alpha": 2 * rank, "target_modules": TARGETS} | config
    tuned = get_peft_model(model, LoraConfig(**settings))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=scale * rank**-0.5)
    tuned.save_pretrained(folder)
    return folder


def make_checkpoint(base: Path, folder: Path, *, seed: int = 2) -> Path:
    """Write a copy of the base whose language model has moved, as full fine-tuning would leave it."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from vlm2vla.vlm.origin import Origin, write_origin

    model = AutoModelForImageTextToText.from_pretrained(base)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.model.language_model.named_parameters():
            if name.endswith("proj.weight"):
                weight += 0.3 * weight.std() * torch.randn_like(weight)
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(base).save_pretrained(folder)
    write_origin(folder, Origin(str(base), actions="language"))
    return folder


def picture(seed: int = 0, *, px: int = IMAGE_PX, kind: str = "PNG") -> bytes:
    """An encoded image of coloured noise; another seed gives another image."""
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((px, px), Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()
