"""Sessions: what was read is not read again, and answers stay the same."""

import threading

import pytest

from tests.vlm.tiny_model import picture
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import ModelInputError, ModelUnavailableError
from vlm2vla.language import make_form
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.protocol import ImagePart

GREEDY = Sampling(max_new_tokens=16)
ROWS = make_form(LanguageConfig()).grammar()


def text(tokens):
    return "".join(token.text for token in tokens)


def same(one, other):
    assert text(one) == text(other)
    assert [token.logprob for token in one] == pytest.approx([token.logprob for token in other], abs=1e-4)


def test_a_conversation_that_grows_is_read_once(tiny_models, look):
    session, model = tiny_models.session("lora"), tiny_models.model("lora")
    messages, lengths = look(), []
    weights, _ = tiny_models.ready("lora")
    for question in ("and the carrot?", "how many cubes are there?", "is it open?"):
        answer = list(session.stream(messages, GREEDY))
        same(answer, list(model.stream(messages, GREEDY)))
        lengths.append(len(weights.prompts.make(messages)))
        messages = (*messages, Message("assistant", (text(answer),)), Message("user", (question,)))
    assert session.counts.read_tokens + session.counts.reused_tokens == sum(lengths)
    assert session.counts.reused_tokens >= lengths[0] + lengths[1] - 4, "at most the ends are read again"


def test_another_picture_is_read_and_the_words_before_it_are_not(tiny_models, look):
    session, model = tiny_models.session("lora"), tiny_models.model("lora")
    system = "a robot arm at a table. " * 5
    session.prefill(look(system=system))
    before = session.counts.reused_tokens
    messages = look(number=2, system=system)
    same(list(session.stream(messages, GREEDY)), list(model.stream(messages, GREEDY)))
    assert session.counts.reused_tokens - before > 30
    messages = look("where is the carrot?", number=2, system=system)
    before = session.counts.reused_tokens
    same(list(session.stream(messages, GREEDY)), list(model.stream(messages, GREEDY)))
    assert session.counts.reused_tokens - before > 35, "the picture too is reused"


def test_a_second_picture_in_a_later_turn_is_seen_as_a_whole(tiny_models, look):
    """Its tokens see each other although the cache holds a beginning already."""
    session, model = tiny_models.session("base"), tiny_models.model("base")
    session.prefill(look())
    later = (*look(), Message("assistant", ("red",)), Message("user", (ImagePart(picture(9)), "and now?")))
    same(list(session.stream(later, GREEDY)), list(model.stream(later, GREEDY)))
    assert session.counts.reused_tokens > 30


def test_an_image_is_encoded_once_for_base_and_adapters(tiny_models, look, monkeypatch):
    weights, _ = tiny_models.ready("base")
    encoded = []
    encode = weights.model.get_image_features
    monkeypatch.setattr(weights.model, "get_image_features", lambda *a, **k: encoded.append(1) or encode(*a, **k))
    messages = look(number=77)
    for name in ("base", "lora"):
        session = tiny_models.session(name)
        session.prefill(messages)
        session.prefill(look("again?", number=77))
        assert session.counts.images_encoded == (1 if name == "base" else 0)
    list(tiny_models.stream_together(["base", "lora"], messages, GREEDY))
    assert len(encoded) == 1


def test_a_begun_answer_is_continued_from_the_cache(tiny_models, look):
    session = tiny_models.session("base")
    session.prefill(look())
    read = session.counts.read_tokens
    begun = (*look(), Message("assistant", ("[[",)))
    same(list(session.stream(begun, GREEDY)), list(tiny_models.model("base").stream(begun, GREEDY)))
    assert session.counts.read_tokens - read == 2


def test_scoring_uses_and_keeps_the_cache(tiny_models, look):
    session, model = tiny_models.session("lora"), tiny_models.model("lora")
    list(session.stream(look(), GREEDY))
    read = session.counts.read_tokens
    for answer in ("move the gripper", "move the cube", "[[1.0, 0.0, 0.0, 1]]"):
        same(session.score(look(), answer), model.score(look(), answer))
    assert session.counts.read_tokens - read <= 3
    same(list(session.stream(look(), GREEDY)), list(model.stream(look(), GREEDY)))


def test_a_grammar_is_followed_and_certain_tokens_are_not_sampled(tiny_models, look):
    session = tiny_models.session("base")
    settings = Sampling(temperature=1.0, seed=4, max_new_tokens=200, grammar=ROWS)
    tokens = list(session.stream(look(), settings))
    assert tokens[-1].ended
    chunk = make_form(LanguageConfig()).parse(text(tokens))
    assert make_form(LanguageConfig()).verbalize(chunk) == text(tokens)
    assert session.counts.forced_tokens >= 3 * len(chunk.rows)
    assert any(token.corrected for token in tokens), "a model that was never trained is corrected"


def test_probabilities_under_a_grammar_are_those_of_the_free_model(tiny_models, look):
    tokens = list(tiny_models.model("base").stream(look(), Sampling(max_new_tokens=200, grammar=ROWS)))
    scored = tiny_models.model("base").score(look(), text(tokens))
    assert [token.logprob for token in tokens[:-1]] == pytest.approx([token.logprob for token in scored], abs=1e-4)
    assert [token.text for token in tokens[:-1]] == [token.text for token in scored], "spelt as the tokenizer spells"


def test_a_new_question_ends_the_answer_that_is_under_way(tiny_models, look):
    session = tiny_models.session("base")
    stream = session.stream(look(), GREEDY)
    next(stream)
    other = list(session.stream(look("how many?"), GREEDY))
    same(other, list(tiny_models.model("base").stream(look("how many?"), GREEDY)))
    with pytest.raises(ModelUnavailableError, match="something else"):
        list(stream)


def test_after_a_stop_the_session_goes_on(tiny_models, look):
    session, stopped = tiny_models.session("base"), threading.Event()
    for count, _ in enumerate(session.stream(look(), GREEDY, stopped=stopped), 1):
        if count == 4:
            stopped.set()
    assert count == 4
    same(list(session.stream(look(), GREEDY)), list(tiny_models.model("base").stream(look(), GREEDY)))


def test_an_error_leaves_the_session_usable(tiny_models, look):
    session = tiny_models.session("base")
    session.prefill(look())
    with pytest.raises(ModelInputError):
        session.prefill((*look(), Message("assistant", ("a",)), Message("user", (ImagePart(b"x"), "b"))))
    same(list(session.stream(look(), GREEDY)), list(tiny_models.model("base").stream(look(), GREEDY)))


def test_a_conversation_of_fifty_turns_past_the_context_is_refused(tiny_models, look):
    session, turns = tiny_models.session("base"), list(look())
    for _ in range(50):
        turns += [Message("assistant", ("move the gripper " * 8,)), Message("user", ("and " * 20,))]
    session.prefill(turns[:20])
    with pytest.raises(ModelInputError, match="leave out earlier turns"):
        session.prefill(turns)
    same(list(session.stream(look(), GREEDY)), list(tiny_models.model("base").stream(look(), GREEDY)))
