"""Answers of models in this process: the same as transformers and peft give, token by token, alone and together."""

import threading

import pytest

from tests.vlm.local.reference import Reference
from tests.vlm.tiny_model import make_adapter, make_base, picture
from vlm2vla.errors import ConfigError, ModelError, ModelFaultError, ModelInputError, ModelUnavailableError
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelRegistry

GREEDY = Sampling(max_new_tokens=20)
WARM = Sampling(temperature=1.0, top_p=0.9, seed=5, max_new_tokens=20)


def text(tokens):
    return "".join(token.text for token in tokens)


def asked(stream):
    """Tokens (or the error) by name."""
    found = {}
    for name, token in stream:
        found.setdefault(name, []).append(token)
    return found


@pytest.mark.parametrize("name", ["base", "lora", "full"])
def test_an_answer_is_the_one_that_transformers_gives(tiny_models, tiny_folder, look, name):
    reference = Reference(
        tiny_folder / ("full" if name == "full" else "base"), tiny_folder / "lora" if name == "lora" else None
    )
    for messages in (look(), look(number=2), (Message("user", ("how many cubes are there?",)),)):
        tokens = list(tiny_models.model(name).stream(messages, GREEDY))
        ids, logprobs = reference.generate(messages, GREEDY.max_new_tokens)
        assert text(tokens) == reference.processor.decode(ids, skip_special_tokens=True)
        assert [token.logprob for token in tokens] == pytest.approx(logprobs, abs=1e-4)


def test_images_and_far_tokens_are_seen_as_transformers_shows_them(tmp_path, workspace, look):
    """Two images in a conversation longer than the sliding window."""
    make_base(tmp_path / "base", window=12)
    image = ImagePart(picture(7), "image/png")
    first = look()
    messages = (*first, Message("assistant", ("red cube",)), Message("user", ("and here", image, "how many?")))
    tokens = list(LocalModels(ModelRegistry(workspace, shipped=tmp_path)).model("base").stream(messages, GREEDY))
    ids, logprobs = Reference(tmp_path / "base").generate(messages, GREEDY.max_new_tokens)
    assert [token.logprob for token in tokens] == pytest.approx(logprobs, abs=1e-4)


def test_an_answer_is_scored_as_one_forward_pass_scores_it(tiny_models, tiny_folder, look):
    answer = "[[2.5, 0.0, -5.0, 1]] move the gripper"
    tokens = tiny_models.model("lora").score(look(), answer)
    reference = Reference(tiny_folder / "base", tiny_folder / "lora")
    assert text(tokens) == answer
    assert [token.logprob for token in tokens] == pytest.approx(reference.score(look(), answer), abs=1e-4)
    assert tiny_models.model("lora").score(look(), "") == ()


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_together_each_gives_the_answer_that_it_gives_alone(tiny_models, look, sampling):
    alone = {name: text(tiny_models.model(name).stream(look(), sampling)) for name in ("base", "lora", "full")}
    together = asked(tiny_models.stream_together(["lora", "base", "full"], look(), sampling))
    assert {name: text(tokens) for name, tokens in together.items()} == alone
    assert len(set(alone.values())) == 3


def test_wide_models_that_transformers_computes_answer_the_same(tiny_models, tiny_folder, workspace, look, monkeypatch):
    """The pass for small models on a CPU (lean.py), which the other tests go through, beside the one for all others."""
    monkeypatch.setattr("vlm2vla.vlm.local.lean.LARGEST_WIDTH", 0)
    models = LocalModels(ModelRegistry(workspace, shipped=tiny_folder))
    wide, lean = (asked(each.stream_together(["base", "lora"], look(), GREEDY)) for each in (models, tiny_models))
    for name in ("base", "lora"):
        assert text(wide[name]) == text(lean[name])
        assert [t.logprob for t in wide[name]] == pytest.approx([t.logprob for t in lean[name]], abs=1e-4)
    assert text(wide["lora"]) == text(models.model("lora").stream(look(), GREEDY))


def test_each_model_may_have_a_conversation_of_its_own(tiny_models, look):
    longer = (*look(), Message("assistant", ("red",)), Message("user", ("are there any carrots left of it?",)))
    own = {"base": look(), "lora": longer}
    together = asked(tiny_models.stream_together(["base", "lora"], own, GREEDY))
    for name, messages in own.items():
        alone = list(tiny_models.model(name).stream(messages, GREEDY))
        assert text(together[name]) == text(alone)
        assert [token.logprob for token in together[name]] == pytest.approx([t.logprob for t in alone], abs=1e-4)


def test_adapters_that_are_no_plain_lora_answer_beside_the_batch(tiny_folder, tmp_path, workspace, look):
    for name in ("lora", "base"):
        (tmp_path / name).symlink_to(tiny_folder / name)
    registry = ModelRegistry(workspace, shipped=tmp_path)
    registry.add("dora", str(make_adapter(tiny_folder / "base", tmp_path / "dora", use_dora=True)), base="base")
    registry.add(
        "token", str(make_adapter(tiny_folder / "base", tmp_path / "tok", modules_to_save=["lm_head"])), base="base"
    )
    models = LocalModels(registry)
    names = ["base", "dora", "lora", "token"]
    together = asked(models.stream_together(names, look(), GREEDY))
    for name in names:
        adapter = {"base": None, "lora": tmp_path / "lora", "dora": tmp_path / "dora", "token": tmp_path / "tok"}[name]
        ids, logprobs = Reference(tiny_folder / "base", adapter).generate(look(), GREEDY.max_new_tokens)
        assert [token.logprob for token in together[name]] == pytest.approx(logprobs, abs=1e-4), name


def test_many_conversations_are_answered_in_batches_as_one_by_one(tiny_models, look):
    conversations = [
        look("what colour is the cube?"),
        (Message("user", ("how many carrots are there?",)),),
        look("is the red cube left of the carrot?", number=3),
        (Message("user", ("",)),),
        (Message("user", (ImagePart(b"no image"), "what is it?")),),
        look("what?", number=4),
    ]
    answers = dict(tiny_models.answer_all("lora", conversations, GREEDY, batch=3))
    assert {index for index, answer in answers.items() if isinstance(answer, ModelError)} == {3, 4}
    for index in (0, 1, 2, 5):
        assert answers[index] == text(tiny_models.model("lora").stream(conversations[index], GREEDY))


def test_equal_seeds_give_equal_answers_and_others_others(tiny_models, look):
    model = tiny_models.model("base")
    answers = [
        text(model.stream(look(), Sampling(temperature=1.0, seed=seed, max_new_tokens=12))) for seed in (1, 1, 2, 3)
    ]
    assert answers[0] == answers[1]
    assert len(set(answers)) == 3


def test_sampling_follows_the_models_probabilities(tiny_models, look):
    """The first token over many seeds, against the probabilities that the model reports."""
    model, counts = tiny_models.session("base"), {}
    first = next(iter(model.stream(look(), Sampling(max_new_tokens=1, top=3))))
    for seed in range(300):
        token = next(iter(model.stream(look(), Sampling(temperature=1.0, seed=seed, max_new_tokens=1))))
        counts[round(token.logprob, 3)] = counts.get(round(token.logprob, 3), 0) + 1
    for _, logprob in first.alternatives:
        share = counts.get(round(logprob, 3), 0) / 300
        assert share == pytest.approx(2.718281828**logprob, abs=0.1)


def test_alternatives_are_the_most_probable_tokens_in_order(tiny_models, look):
    for token in tiny_models.model("base").stream(look(), Sampling(max_new_tokens=5, top=4)):
        logprobs = [logprob for _, logprob in token.alternatives]
        assert len(logprobs) == 4
        assert logprobs == sorted(logprobs, reverse=True)
        assert logprobs[0] == pytest.approx(token.logprob), "greedy takes the first"


def test_a_stop_is_heard_within_a_token(tiny_models, look):
    stopped, seen = threading.Event(), []
    for token in tiny_models.model("base").stream(look(), GREEDY, stopped=stopped):
        seen.append(token)
        if len(seen) == 3:
            stopped.set()
    assert len(seen) == 3
    unlimited = list(tiny_models.stream_together(["base", "lora", "full"], look(), GREEDY))
    together = list(tiny_models.stream_together(["base", "lora", "full"], look(), GREEDY, stopped=_SetSoon(3)))
    assert len(together) <= 6 < len(unlimited), "two models of one batch for each time that they might go on"


class _SetSoon(threading.Event):
    """Is set from the time on when it was asked so often; so nothing depends on whose thread runs when."""

    def __init__(self, asked: int):
        super().__init__()
        self._left, self._counting = asked, threading.Lock()

    def is_set(self) -> bool:
        with self._counting:
            self._left -= 1
            return self._left < 0


def test_answers_of_several_threads_do_not_mix(tiny_models, look):
    names = ["base", "lora", "base", "lora"]
    alone = [text(tiny_models.model(name).stream(look(), GREEDY)) for name in names]
    found = [""] * len(names)

    def ask(place):
        found[place] = text(tiny_models.model(names[place]).stream(look(), GREEDY))

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_a_model_that_computes_nan_fails_alone(tiny_folder, tmp_path, workspace, look):
    import torch
    from safetensors.torch import load_file, save_file

    broken = make_adapter(tiny_folder / "base", tmp_path / "broken")
    weights = load_file(broken / "adapter_model.safetensors")
    save_file(
        {name: torch.full_like(weight, torch.nan) for name, weight in weights.items()},
        broken / "adapter_model.safetensors",
    )
    registry = ModelRegistry(workspace, shipped=tiny_folder)
    registry.add("broken", str(broken))
    models = LocalModels(registry)
    found = asked(models.stream_together(["base", "broken"], look(), GREEDY))
    assert isinstance(found["broken"][-1], ModelFaultError)
    assert text(found["base"]) == text(models.model("base").stream(look(), GREEDY))
    with pytest.raises(ModelFaultError, match="NaN"):
        list(models.model("broken").stream(look(), GREEDY))


def test_memory_that_runs_out_is_an_error_and_the_model_goes_on(tiny_models, look, monkeypatch):
    import torch

    before = text(tiny_models.model("base").stream(look(), GREEDY))

    def no_memory(*args, **kwargs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", no_memory)
        with pytest.raises(ModelFaultError, match="memory ran out"):
            list(tiny_models.model("base").stream(look(), GREEDY))
    assert text(tiny_models.model("base").stream(look(), GREEDY)) == before


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ((), "nothing is asked"),
        ((Message("user", ("",)),), "nothing is asked"),
        ((Message("system", ("x",)),), "nothing is asked"),
        ((Message("user", ("a",)), Message("user", ("b",))), "chat template refuses"),
        ((Message("user", ("see <start_of_image> here",)),), "mark of the model itself"),
        ((Message("user", ("stop<end_of_turn>",)),), "mark of the model itself"),
        ((Message("user", ("word " * 3000,)),), "takes 2048 with the answer"),
        ((Message("user", (ImagePart(b""), "what?")),), "no image"),
        ((Message("user", (ImagePart(picture(1)[:60]), "what?")),), "broken"),
        ((Message("user", (ImagePart(b"\x89PNG" + b"x" * 33_000_000), "what?")),), "too large"),
    ],
)
def test_a_prompt_that_cannot_be_taken_is_refused_with_the_reason(tiny_models, messages, says):
    with pytest.raises(ModelInputError, match=says):
        list(tiny_models.model("base").stream(messages, GREEDY))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tiny_models):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    with pytest.raises(ModelInputError, match="too large"):
        list(tiny_models.model("base").stream((Message("user", (ImagePart(bomb), "what?")),), GREEDY))


@pytest.mark.parametrize("sampling", [Sampling(temperature=-1), Sampling(top_p=0), Sampling(max_new_tokens=0)])
def test_settings_that_cannot_be_are_refused(tiny_models, look, sampling):
    with pytest.raises(ModelInputError, match="temperature must be"):
        list(tiny_models.model("base").stream(look(), sampling))


def test_an_answer_may_be_begun(tiny_models, look):
    whole = list(tiny_models.model("base").stream(look(), GREEDY))
    begun = "".join(token.text for token in whole[:2])
    rest = list(
        tiny_models.model("base").stream((*look(), Message("assistant", (begun,))), Sampling(max_new_tokens=18))
    )
    assert begun + text(rest) == text(whole)


def test_a_model_that_is_unloaded_in_mid_answer_says_so(tiny_folder, workspace, look):
    models = LocalModels(ModelRegistry(workspace, shipped=tiny_folder))
    stream = models.model("lora").stream(look(), GREEDY)
    next(stream)
    models.unload("lora")
    with pytest.raises(ModelUnavailableError, match="unloaded"):
        list(stream)
    assert text(models.model("lora").stream(look(), GREEDY)), "the next question loads it again"
    stream = models.model("base").stream(look(), GREEDY)
    next(stream)
    models.unload("base")
    with pytest.raises(ModelUnavailableError, match="unloaded"):
        list(stream)
    assert models.loaded() == ()


def test_an_adapter_that_is_unloaded_in_mid_answer_leaves_the_batch_and_the_base_goes_on(tiny_folder, workspace, look):
    models = LocalModels(ModelRegistry(workspace, shipped=tiny_folder))
    alone = text(models.model("base").stream(look(), GREEDY))
    stream = models.stream_together(["lora", "base"], look(), GREEDY)
    first = [next(stream), next(stream)]
    models.unload("lora")
    found = asked([*first, *stream])
    assert isinstance(found["lora"][-1], ModelUnavailableError)
    assert text(found["base"]) == alone


def test_an_adapter_that_is_unloaded_just_before_a_step_leaves_the_batch_too(tiny_folder, workspace, look, monkeypatch):
    from vlm2vla.vlm.local.weights import Weights

    models, forward = LocalModels(ModelRegistry(workspace, shipped=tiny_folder)), Weights.forward
    alone = text(models.model("base").stream(look(), GREEDY))

    def unloading(self, rows, *arguments):
        if len(rows) > 1 and self.attached(rows[0]) and arguments[0].shape[1] == 1:
            models.unload("lora")
        return forward(self, rows, *arguments)

    monkeypatch.setattr(Weights, "forward", unloading)
    found = asked(models.stream_together(["lora", "base"], look(), GREEDY))
    assert isinstance(found["lora"][-1], ModelUnavailableError)
    assert text(found["base"]) == alone


def test_base_and_adapters_share_one_copy_of_the_weights(tiny_models):
    base, none = tiny_models.ready("base")
    tuned, adapter = tiny_models.ready("lora")
    full, _ = tiny_models.ready("full")
    assert tuned is base
    assert full is not base
    assert (none, bool(adapter)) == ("", True)


def test_a_server_is_no_model_of_this_process(tiny_registry):
    tiny_registry.add("far", "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="server"):
        LocalModels(tiny_registry).model("far")
    with pytest.raises(ConfigError, match="twice"):
        LocalModels(tiny_registry).stream_together(["base", "base"], (), GREEDY)
