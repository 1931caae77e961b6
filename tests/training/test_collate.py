"""Packed samples are computed exactly as if each stood alone, and exactly as they are asked at run time."""

import pytest

from vlm2vla.training.config import Mixture
from vlm2vla.training.data import read_data

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def loaded(tiny_folder):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    base = tiny_folder / "base"
    return AutoModelForImageTextToText.from_pretrained(base), AutoProcessor.from_pretrained(base)


@pytest.fixture(scope="module")
def groups(rows_folder):
    return read_data([rows_folder], Mixture(held_out=0.0), grouped=True).train


@pytest.fixture(scope="module")
def renderer(loaded):
    from vlm2vla.training.rendering import Renderer

    return Renderer(loaded[1], 1024)


def gradients(model, batch):
    from vlm2vla.training.trainers import batch_loss

    model.zero_grad()
    loss, count = batch_loss(model, batch)
    loss.backward()
    named = model.model.language_model.named_parameters()
    return float(loss), count, {name: weight.grad.clone() for name, weight in named if weight.grad is not None}


def test_packed_and_plain_samples_have_the_same_loss_and_gradients(loaded, renderer, groups):
    from vlm2vla.training.collate import PlainCollator, SharedPrefixCollator
    from vlm2vla.training.trainers import sliding_window

    model = loaded[0].eval()
    some = [groups[0], groups[12], groups[1]]  # three rows, two pictures, three rows
    packed, count, packed_grads = gradients(model, SharedPrefixCollator(renderer, sliding_window(model))(some))
    plain, plain_count, plain_grads = gradients(model, PlainCollator(renderer)(some))
    assert count == plain_count
    assert packed == pytest.approx(plain, rel=1e-5)
    for name, gradient in plain_grads.items():
        assert torch.allclose(packed_grads[name], gradient, atol=2e-4, rtol=1e-3), name


def test_the_common_beginning_is_computed_once(renderer, groups):
    from vlm2vla.training.collate import PlainCollator, SharedPrefixCollator

    packed = SharedPrefixCollator(renderer)(groups[:1])
    plain = PlainCollator(renderer)(groups[:1])
    assert packed["pixel_values"].shape[0] == 1
    assert plain["pixel_values"].shape[0] == 3
    assert packed["input_ids"].numel() < 0.6 * plain["input_ids"].numel()


def test_pictures_are_read_both_ways_and_a_sliding_window_is_kept(loaded, renderer, groups):
    from vlm2vla.training.collate import SharedPrefixCollator

    batch = SharedPrefixCollator(renderer, window=4)(groups[:1])
    picture = batch["token_type_ids"][0].bool()
    for mask in batch["attention_mask"].values():
        assert mask[0, 0][picture][:, picture].all()
    full, local = (batch["attention_mask"][name][0, 0] for name in ("full_attention", "sliding_attention"))
    assert local.sum() < full.sum()
    assert not full[~picture][:, ~picture].triu(1).any()


def test_tokens_of_plans_can_count_more(renderer, groups):
    from vlm2vla.training.collate import SharedPrefixCollator

    batch = SharedPrefixCollator(renderer, plan_weight=8.0)(groups[:1])
    heavy = renderer.tokenizer.decode(batch["labels"][batch["weights"] == 8])
    plans = [row.completion for row in groups[0].rows if row.level == "plan"]
    assert plans
    assert heavy == "".join(f"{plan}<end_of_turn>\n" for plan in plans)
    assert set(batch["weights"].tolist()) == {1.0, 8.0}


def test_additive_masks_say_the_same(renderer, groups):
    from vlm2vla.training.collate import SharedPrefixCollator

    plain, added = (
        SharedPrefixCollator(renderer, window=4, additive=additive)(groups[:2])["attention_mask"]
        for additive in (False, True)
    )
    for name, mask in plain.items():
        assert torch.equal(added[name] == 0, mask)
        assert (added[name][~mask] < -1e8).all()


def test_the_loss_is_on_answers_and_their_end_only(renderer, groups):
    from vlm2vla.training.collate import SharedPrefixCollator

    batch = SharedPrefixCollator(renderer)(groups[:1])
    told = renderer.tokenizer.decode(batch["labels"])
    answers = [f"{row.completion}<end_of_turn>\n" for row in groups[0].rows]
    assert told == "".join(answers)


def test_training_prompts_are_the_tokens_that_inference_sends(loaded, renderer, groups):
    from vlm2vla.vlm.chat import Message
    from vlm2vla.vlm.local.prompt import PromptMaker
    from vlm2vla.vlm.protocol import ImagePart

    make = PromptMaker(loaded[1], renderer.image_token).make
    for group in (groups[0], groups[12]):
        parts = [ImagePart(path.read_bytes(), "image/png") for path in group.images]
        for row in group.rows:
            messages, left = [], list(parts)
            for turn in row.prompt:
                shown = left if turn["role"] == "user" else []
                messages.append(Message(turn["role"], (*shown, turn["content"])))
                left = [] if turn["role"] == "user" else left
            assert make(messages).ids == renderer.tokens(row, len(group.images)).prompt


def test_trl_makes_the_same_tokens_of_a_row(loaded, renderer, groups):
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    from vlm2vla.training.rendering import open_pictures

    group, row = groups[0], groups[0].rows[2]
    collate = DataCollatorForVisionLanguageModeling(loaded[1], max_length=None, completion_only_loss=True)
    batch = collate(
        [
            {
                "images": open_pictures(group.images),
                "prompt": [dict(turn) for turn in row.prompt],
                "completion": [{"role": "assistant", "content": row.completion}],
            }
        ]
    )
    ours = renderer.tokens(row, 1)
    assert batch["input_ids"][0].tolist() == [*ours.prompt, *ours.completion]
    assert batch["labels"][0][batch["labels"][0] != -100].tolist() == list(ours.completion)
    assert batch["token_type_ids"].any()


def test_a_sample_that_is_too_long_is_named(loaded, groups):
    from vlm2vla.errors import TrainingError
    from vlm2vla.training.collate import SharedPrefixCollator
    from vlm2vla.training.rendering import Renderer

    with pytest.raises(TrainingError, match=groups[0].rows[0].id):
        SharedPrefixCollator(Renderer(loaded[1], 20))(groups[:1])


def test_a_base_that_takes_inputs_that_are_not_known_here_is_refused_and_they_are_named(loaded, groups):
    from vlm2vla.errors import ConfigError
    from vlm2vla.training.collate import PlainCollator
    from vlm2vla.training.rendering import Renderer

    class Grids:
        """A processor that also says how a picture was cut up."""

        def __getattr__(self, name):
            return getattr(loaded[1], name)

        def __call__(self, **asked):
            grids = {"image_grid_thw": torch.ones(1, 3)} if asked["images"] else {}
            return {**loaded[1](**asked), **grids}

    with pytest.raises(ConfigError, match=r"image_grid_thw.*--base-model"):
        PlainCollator(Renderer(Grids(), 1024))(groups[:1])


def test_every_base_says_how_long_its_samples_are(renderer, groups, loaded):
    from vlm2vla.training.rendering import Renderer

    class AnotherBase(Renderer):
        can_share = False  # its pictures are measured through the processor

    another = AnotherBase(loaded[1], 1024)
    rows = [(row, group.images) for group in (groups[0], groups[12]) for row in group.rows]
    exact = [len(renderer.tokens(row, len(images))) for row, images in rows]
    assert [renderer.length(*pair) for pair in rows] == exact
    assert [another.length(*pair) for pair in rows] == exact
    for measured in (renderer.lengths(rows), another.lengths(rows)):
        assert max(abs(about - length) for about, length in zip(measured, exact, strict=True)) < 8


def test_pictures_count_in_the_longest_sample(renderer, groups):
    """A short question over many pictures is longer than a long one over a single picture."""
    from dataclasses import replace

    from vlm2vla.training.checks import fitting
    from vlm2vla.training.data import TrainingData

    told, asked = (next(group for group in groups if len(group.images) == count) for count in (1, 2))
    asked = replace(asked, images=asked.images * 20)
    found, longest = fitting(renderer, TrainingData([told], [asked]))
    assert (len(found.train), len(found.held_out)) == (1, 1)
    question, chunk = asked.rows[0], told.rows[-1]
    assert len(str(question.prompt)) < len(str(chunk.prompt))
    assert longest == renderer.length(question, asked.images) > renderer.length(chunk, told.images)
