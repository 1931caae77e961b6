"""Answers under a grammar, for every form of actions."""

import pytest

from vlm2vla.config import LanguageConfig
from vlm2vla.errors import ModelInputError
from vlm2vla.language import make_form
from vlm2vla.vlm.chat import Message, Sampling


def text(tokens):
    return "".join(token.text for token in tokens)


@pytest.mark.parametrize("form", ["rows", "rows7", "sentence", "sentence7", "tokens"])
def test_every_form_parses_by_construction(tiny_models, look, form):
    made = make_form(LanguageConfig(form=form))
    for seed in range(4):
        settings = Sampling(temperature=1.0, seed=seed, max_new_tokens=1500, grammar=made.grammar())
        tokens = list(tiny_models.model("base").stream(look(), settings))
        if tokens[-1].ended:
            made.parse(text(tokens))
        assert len(tokens) > 1


def test_together_with_a_grammar_both_follow_it(tiny_models, look):
    form = make_form(LanguageConfig())
    found = {"base": [], "lora": []}
    settings = Sampling(max_new_tokens=300, grammar=form.grammar())
    for name, token in tiny_models.stream_together(["base", "lora"], look(), settings):
        found[name].append(token)
    for name, tokens in found.items():
        alone = list(tiny_models.model(name).stream(look(), settings))
        assert text(tokens) == text(alone), "with tokens that are not sampled or without"
        form.parse(text(tokens))


def test_a_given_beginning_is_part_of_what_the_grammar_describes(tiny_models, look):
    grammar = 'root ::= "yes, " ("the cube" | "the carrot")'
    begun = (*look(), Message("assistant", ("yes, ",)))
    answer = text(tiny_models.model("base").stream(begun, Sampling(grammar=grammar)))
    assert answer in ("the cube", "the carrot")
    with pytest.raises(ModelInputError, match="does not follow the grammar"):
        list(tiny_models.model("base").stream((*look(), Message("assistant", ("no",))), Sampling(grammar=grammar)))


@pytest.mark.parametrize("grammar", ["root ::= (", "nothing", "root ::= unknown"])
def test_a_grammar_that_is_none_is_refused(tiny_models, look, grammar):
    with pytest.raises(ModelInputError, match="grammar cannot be used"):
        list(tiny_models.model("base").stream(look(), Sampling(grammar=grammar)))


def test_certain_text_is_left_to_the_model_where_a_longer_token_could_begin(tiny_models):
    """All action tokens begin with "<unused": the grammar is sure of that text, but not of any token."""
    weights, _ = tiny_models.ready("base")
    follower = weights.grammars().start(make_form(LanguageConfig(form="tokens")).grammar())
    assert follower.forced() == []
    follower = weights.grammars().start(make_form(LanguageConfig()).grammar(), "[[2.5")
    assert weights.tokenizer.convert_ids_to_tokens(follower.forced()) == [",", "▁"]
