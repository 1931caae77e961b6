"""The language side of the embedded model at a tiny size, with its real classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlm2vla.errors import ConfigError, WorkspaceError
from vlm2vla.language import form, parse_plan, parse_subtasks
from vlm2vla.training.pretrain.config import Preset, SoftConfig, Stage, preset
from vlm2vla.training.pretrain.pictures import open_pictures
from vlm2vla.training.pretrain.soft import SoftSpace

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vlm2vla.training.pretrain.attention import quick  # noqa: E402
from vlm2vla.training.pretrain.dense import DenseHeads, Names  # noqa: E402
from vlm2vla.training.pretrain.gate import Item, grade, run_gate  # noqa: E402
from vlm2vla.training.pretrain.join import train_joined  # noqa: E402
from vlm2vla.training.pretrain.language import SoftTokens, train_language  # noqa: E402
from vlm2vla.training.pretrain.mix import Mix  # noqa: E402
from vlm2vla.training.pretrain.model import build_model, build_processor, save_model  # noqa: E402
from vlm2vla.training.pretrain.practice import exercise  # noqa: E402
from vlm2vla.training.pretrain.rows import Branch, Packer, Row, hidden_states  # noqa: E402
from vlm2vla.training.pretrain.vocabulary import make_tokenizer  # noqa: E402

from .painted import COLOURS, SMALL, paint  # noqa: E402

SHAPE = replace(SMALL, layers=2, ffn=64, vocabulary=1000)
WORDS = {f"colour:{colour}": [colour] for colour in COLOURS} | {"kind:cube": ["cube", "方块"], "kind:card": ["card"]}


def tiny() -> Preset:
    stage = Stage(steps=40, batch=4, lr=0.02, every_s=3600.0)
    return replace(preset("embedded"), shape=SHAPE, soft=SoftConfig(grid=5), language=stage, join=stage)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = paint(tmp_path_factory.mktemp("painted") / "set", count=80, px=80, grid=5)
    scenes = [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
    asked = []
    for scene in scenes:
        rows = []
        for thing in scene["things"]:
            place = f"[{thing['x_cm']:.0f}, {thing['y_cm']:.0f}]"
            rows.append({"skill": "pointing", "question": f"Where is {thing['name']}?", "answer": place})
            rows.append(
                {"skill": "colour", "question": f"What colour has {thing['name'][-7:]}?", "answer": thing["colour"]}
            )
        asked.append([row | {"language": "en"} for row in rows])
    (folder / "questions.jsonl").write_text("".join(json.dumps(rows) + "\n" for rows in asked))
    text = {"skill": "facts", "language": "en", "question": "Is ice cold?", "answer": "yes"}
    (folder / "texts.jsonl").write_text(json.dumps(text) + "\n")
    return open_pictures(folder)


@pytest.fixture(scope="module")
def tokenizer(pictures, tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), pictures, WORDS, tiny(), seed=0)


@pytest.fixture
def model(tokenizer):
    return build_model(SHAPE, tokenizer, SoftSpace(SoftConfig(grid=5)), WORDS, seed=0)


def test_numbers_are_digits_and_names_of_things_one_piece_each(tokenizer):
    def pieces(text):
        return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])

    row = ["[", "[", "1", "2", ".", "5", ",▁", "-", "3", ".", "0", ",▁", "1", "]", "]"]
    assert pieces("[[12.5, -3.0, 1]]") == row
    assert pieces("方块") == ["方块"]
    assert pieces("<unused7><unused0>") == ["<unused7>", "<unused0>"]


@pytest.mark.parametrize(
    "text", ["Grasp the red cube", "1. Öl\n2. हरा घन", "[[2.5, 0.0, -5.0, 1]]", "<unused3><unused1>"]
)
def test_text_survives_the_tokenizer(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_words_of_one_thing_begin_near_each_other_and_near_its_image_token(model, tokenizer):
    table = model.model.language_model.embed_tokens.weight.detach()

    def vector(word):
        return table[tokenizer(word, add_special_tokens=False)["input_ids"][0]]

    def near(one, other):
        return float(torch.nn.functional.cosine_similarity(one, other, dim=0))

    concept = torch.from_numpy(SoftSpace(SoftConfig(grid=5)).concept("kind:cube")).float()
    assert near(vector("cube"), vector("方块")) > 0.4
    assert near(vector("cube"), concept) > 0.5
    assert abs(near(vector("card"), concept)) < 0.4


@pytest.mark.parametrize("system", ["", "You control a gripper."])
def test_a_packed_row_answers_as_the_processor_and_the_whole_model_do(model, tokenizer, pictures, system):
    """Second question of a row, second turn of its conversation: the same logits as for that conversation alone."""
    model.eval()
    turns = (("Where is it?", "[60, 2]"), ("What colour has thing 1?", "red"))
    row = Row((3,), (Branch((("Is ice cold?", "yes"),)), Branch(turns)), system)
    packer = Packer(tokenizer, SHAPE.image_tokens)
    batch = packer.pack([row, Row((), row.branches, system)])
    processor = build_processor(SHAPE, tokenizer)
    from PIL import Image

    said = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    image = Image.fromarray(np.asarray(pictures.pixels[3]))
    for number, (question, answer) in enumerate(turns):
        shown = [{"type": "image", "image": image}] if number == 0 else []
        said.append({"role": "user", "content": [*shown, {"type": "text", "text": question}]})
        said.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    inputs = processor.apply_chat_template(said, tokenize=True, return_dict=True, return_tensors="pt")
    with torch.no_grad():
        tokens = model.get_image_features(inputs["pixel_values"]).pooler_output
        whole = model(**inputs).logits[0]
        packed = model.lm_head(hidden_states(model, batch, tokens))
        rough = model.lm_head(hidden_states(model, batch, tokens, fast=True))
    span = batch.answers[1]
    end = inputs["input_ids"].shape[1] - 1  # the template ends with a line break behind the last answer
    expected = whole[end - (span.stop - span.start) - 1 : end - 1]
    assert batch.ids[0, span.stop] == tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert torch.allclose(packed[0, span.start : span.stop], expected, atol=1e-4)
    assert (rough[0, span.start : span.stop] - expected).abs().mean() < 0.05 * expected.abs().mean() + 0.02


def test_two_pictures_in_one_prompt_are_packed_as_the_processor_does(model, tokenizer, pictures):
    from PIL import Image

    model.eval()
    processor = build_processor(SHAPE, tokenizer)
    images = [Image.fromarray(np.asarray(pictures.pixels[number])) for number in (4, 5)]
    shown = [{"type": "image", "image": image} for image in images]
    said = [{"role": "user", "content": [*shown, {"type": "text", "text": "What changed?"}]}]
    inputs = processor.apply_chat_template(
        said, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    packer = Packer(tokenizer, SHAPE.image_tokens)
    batch = packer.pack([Row((4, 5), (Branch((("What changed?", "nothing"),)),))])
    length = inputs["input_ids"].shape[1]
    assert batch.ids[0, :length].tolist() == inputs["input_ids"][0].tolist()
    with torch.no_grad():
        tokens = model.get_image_features(inputs["pixel_values"]).pooler_output
        packed = model.lm_head(hidden_states(model, batch, tokens))[0, length - 1]
        whole = model(**inputs).logits[0, -1]
    assert torch.allclose(packed, whole, atol=1e-4)


def test_quick_arithmetic_leaves_the_model_as_it_was(model):
    before = model.model.language_model.config._attn_implementation
    with quick(model):
        assert model.model.language_model.config._attn_implementation != before
    assert model.model.language_model.config._attn_implementation == before


def test_exercises_are_in_the_forms_that_the_action_language_parses():
    rng = np.random.default_rng(0)
    rows, plans, lists = 0, 0, 0
    for _ in range(400):
        made = exercise(rng)
        if made.answer.startswith("[["):
            form("rows:0.5cm").parse(made.answer)
            rows += 1
        elif made.question.startswith(("As a numbered list", "Write as a numbered list")):
            parse_subtasks(made.answer)
            lists += 1
        elif made.answer.startswith("move ") and "cm" not in made.answer and "Opposite" not in made.question:
            parse_plan(made.answer)
            plans += 1
    assert min(rows, plans, lists) > 10


def test_a_step_sees_the_same_rows_every_time_and_other_steps_other_ones(pictures):
    def rows(step):
        return Mix(pictures, pictures.training, 0).rows(step, 8)

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)
    assert all(set(row.pictures) <= set(pictures.training) for step in range(20) for row in rows(step))


def _learn(folder: Path, model, tokenizer, pictures, **options):
    tokens = SoftTokens(pictures, SoftSpace(SoftConfig(grid=5)))
    chosen = tiny()
    return train_language(folder, model, tokenizer, pictures, tokens, chosen.language, chosen, seed=0, **options)


def _losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_a_stopped_language_stage_goes_on_with_the_same_losses(tokenizer, pictures, tmp_path):
    def fresh():
        return build_model(SHAPE, tokenizer, SoftSpace(SoftConfig(grid=5)), WORDS, seed=0)

    whole = _learn(tmp_path / "whole", fresh(), tokenizer, pictures, resume=False, max_steps=4)
    _learn(tmp_path / "parts", fresh(), tokenizer, pictures, resume=False, max_steps=2)
    with pytest.raises(ConfigError, match="--resume"):
        _learn(tmp_path / "parts", fresh(), tokenizer, pictures, resume=False, max_steps=4)
    parts = _learn(tmp_path / "parts", fresh(), tokenizer, pictures, resume=True, max_steps=4)
    assert parts.steps == whole.steps == 4
    assert _losses(tmp_path / "parts")[4] == pytest.approx(_losses(tmp_path / "whole")[4], abs=1e-5)


def test_a_damaged_checkpoint_is_named(tokenizer, pictures, model, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        _learn(tmp_path, model, tokenizer, pictures, resume=True, max_steps=2)


def test_learning_lowers_the_loss_and_leaves_the_tower_alone(tokenizer, pictures, model, tmp_path):
    tower = {name: value.clone() for name, value in model.model.vision_tower.state_dict().items()}
    _learn(tmp_path, model, tokenizer, pictures, resume=False, max_steps=20)
    losses = _losses(tmp_path)
    assert losses[20] < 0.7 * losses[1]
    assert all(torch.equal(value, tower[name]) for name, value in model.model.vision_tower.state_dict().items())


def test_joined_training_moves_the_tower_and_resumes(tokenizer, pictures, tmp_path):
    def run(folder, steps, resume=False):
        model = build_model(SHAPE, tokenizer, SoftSpace(SoftConfig(grid=5)), WORDS, seed=0)
        before = model.model.vision_tower.embeddings.patch_embedding.weight.detach().clone()
        torch.manual_seed(1)
        heads = DenseHeads(SHAPE.vision_width, Names.of(pictures.scenes)).requires_grad_(False)
        options = {"heads": heads, "seed": 0, "resume": resume, "max_steps": steps}
        train_joined(folder, model, tokenizer, pictures, tiny(), **options)
        return not torch.equal(before, model.model.vision_tower.embeddings.patch_embedding.weight)

    assert run(tmp_path / "whole", 3)
    run(tmp_path / "parts", 2)
    run(tmp_path / "parts", 3, resume=True)
    assert _losses(tmp_path / "parts")[3] == pytest.approx(_losses(tmp_path / "whole")[3], abs=1e-4)


def test_an_untrained_model_loads_like_any_other_and_fails_the_gate(tokenizer, pictures, model, tmp_path):
    save_model(tmp_path / "model", model, build_processor(SHAPE, tokenizer), half=True)
    gate = run_gate(tmp_path / "model", None, pictures, limit=12)
    assert not gate["passed"]
    assert gate["skills"]["colour"]["blank"] is not None
    assert sum(row["items"] for row in gate["skills"].values()) == 12


def test_the_gate_counts_what_is_near_and_wants_more_than_a_blank_picture_gives():
    picture = (object(),)
    items = [
        Item("pointing", "en", "Where?", ("[60, 10]",), picture),
        Item("colour", "en", "Which?", ("red",), picture),
    ]
    good = grade(items, ["[61, 9]", "Red."], items, ["[40, 0]", "blue"])
    assert good["passed"]
    assert good["skills"]["pointing"]["median_cm"] == 1.0
    assert good["skills"]["pointing"]["blank_median_cm"] == 20.0
    assert not grade(items, ["[61, 9]", "red"], items, ["[61, 9]", "red"])["passed"]
    assert grade(items, ["somewhere", "red"], items, ["x", "y"])["missed"] == ["pointing"]
