"""The trl export as trl users meet it: `datasets` loads it, a Gemma 3 processor and trl's own collator tokenise it."""

import json

import numpy as np
import pytest
from PIL import Image

from vlm2vla.dataset import completed_sample, direction_sample, write_trl
from vlm2vla.errors import AnnotationError

TEMPLATE = """{{ bos_token }}{% set first = messages[0] %}{% set rest = messages %}{% set ns = namespace(lead='') %}
{%- if first['role'] == 'system' %}{% set ns.lead = (first['content'] if first['content'] is string
else first['content'][0]['text']) + '\n\n' %}{% set rest = messages[1:] %}{% endif %}
{%- for message in rest %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}{% endif %}
{{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}
{%- if loop.first %}{{ ns.lead }}{% endif %}
{%- if message['content'] is string %}{{ message['content'] | trim }}{% else %}
{%- for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<start_of_image>' }}
{%- else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""


@pytest.fixture(scope="module")
def processor():
    """A Gemma 3 processor with a byte-level tokenizer: the real classes, no download, no weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Gemma3Processor, PreTrainedTokenizerFast
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    special += ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    vocabulary = {token: index for index, token in enumerate(special + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
        },
    )
    return Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
        image_seq_length=4,
    )


def extras(annotated, episode):
    yield completed_sample(episode, annotated.subtasks[0].text, 0, 5, True, uid=annotated.subtasks[0].uid)
    yield direction_sample(episode, 0, 4, "none")


def load(out, cache):
    from datasets import load_dataset

    return load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(cache))


def test_datasets_loads_rows_with_decoded_images(config, items, tmp_path):
    manifest = write_trl(config, items, extras)
    table = load(config.out, tmp_path / "cache")
    assert len(table) == manifest.counts["rows"]
    assert {"images", "prompt", "completion", "level", "uid"} <= set(table.column_names)
    # Two whole episodes with three answers per subtask; the holed one lists nothing for its first subtask.
    counts = {level: table["level"].count(level) for level in set(table["level"])}
    assert counts == {"subtask": 7, "plan": 8, "chunk": 8, "completed": 3, "direction": 3}
    shown = {"completed": 2, "direction": 2}
    assert all(len(row["images"]) == shown.get(row["level"], 1) for row in table)
    row = next(row for row in table if row["id"] == "kitchen-0001/s1-abc/chunk")
    (image,) = row["images"]
    assert isinstance(image, Image.Image)
    recorded = items[1].episode.image(5)
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(recorded))
    assert row["completion"] == [{"role": "assistant", "content": items[1].annotated.subtasks[1].chunk}]


def test_the_folder_loads_by_its_path_alone(config, items, tmp_path):
    from datasets import load_dataset

    write_trl(config, items)
    table = load_dataset(str(config.out), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(table[0]["images"][0], Image.Image)


def test_contents_are_plain_strings_and_the_prompt_ends_with_the_question(config, items):
    write_trl(config, items)
    rows = [json.loads(line) for line in (config.out / "metadata.jsonl").read_text().splitlines()]
    for row in rows:
        roles = [message["role"] for message in row["prompt"]]
        assert roles == ["system", "user", *["assistant", "user"] * ((len(roles) - 2) // 2)]
        assert all(isinstance(message["content"], str) for message in row["prompt"] + row["completion"])
        assert all((config.out / name).is_file() for name in row["file_names"])
        assert [message["role"] for message in row["completion"]] == ["assistant"]


def test_trl_tokenises_it_and_the_loss_falls_on_the_answer_alone(config, items, processor, tmp_path):
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    write_trl(config, items, extras)
    table = load(config.out, tmp_path / "cache")
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    soft = processor.tokenizer.convert_tokens_to_ids("<image_soft_token>")
    for level in ("subtask", "plan", "chunk", "completed"):
        # One image beside two in a batch, where there are both.
        rows = [row for row in table if row["level"] == level][:1] + [table[len(table) - 1]]
        batch = collate([dict(row) for row in rows])
        for index, row in enumerate(rows):
            labels = batch["labels"][index]
            answer = processor.tokenizer.decode(labels[labels != -100])
            assert answer == row["completion"][0]["content"] + "<end_of_turn>\n"
            assert int((batch["input_ids"][index] == soft).sum()) == 4 * len(row["images"])
        assert batch["token_type_ids"].sum() > 0
        text = processor.tokenizer.decode(batch["input_ids"][0])
        assert text.count("<bos>") == 1
        assert rows[0]["prompt"][-1]["content"].strip() in text


def test_an_episode_that_makes_no_conversation_does_not_stop_the_others(config, items):
    def extra(annotated, episode):
        if episode.id == "kitchen-0001":
            raise AnnotationError("no pairs here")
        return ()

    manifest = write_trl(config, items, extra)
    assert manifest.left_out["no conversation possible"] == 1
    assert any("kitchen-0001: no pairs here" in problem for problem in manifest.problems)
    assert manifest.counts["rows: chunk"] == 5
