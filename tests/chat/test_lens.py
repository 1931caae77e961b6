"""The likelihood lens: words against action tokens, asked for as what they are, over texts and annotated chunks."""

import pytest

from vlm2vla.chat.actions import TOKENS, WORDS, chunk_question
from vlm2vla.chat.lens import AskedChunk, all_forms, look, over_chunks, token_forms
from vlm2vla.errors import ModelError
from vlm2vla.language import form
from vlm2vla.vlm.chat import Message, Token


def test_the_lens_scores_a_chunk_in_words_and_in_tokens():
    class Model:
        name = "base"

        def score(self, messages, answer):
            return tuple(Token(letter, -1.0 if letter != "<" else -9.0) for letter in answer)

    rows = look([Model()], {"base": []}, ["[[2.5, 0.0, -1.0, 1]]", "a plain answer"])
    assert [row["kind"] for row in rows] == ["words", "tokens", "text"]
    words, tokens, _ = (row["scores"][0] for row in rows)
    assert words["mean"] > tokens["mean"]
    assert words["total"] == pytest.approx(sum(value for _, value in words["tokens"]))
    assert not all_forms("hello")
    assert all_forms(all_forms("[[2.5, 0.0, -1.0, 1]]")[1]) == all_forms("[[2.5, 0.0, -1.0, 1]]")


def test_the_lens_asks_for_tokens_where_it_scores_tokens():
    asked = []

    class Model:
        name = "base"

        def score(self, messages, answer):
            asked.append((messages[-1].text, answer))
            return (Token(answer, -1.0),)

    look([Model()], {"base": [Message("user", (chunk_question(WORDS),))]}, ["[[2.5, 0.0, -1.0, 1]]"])
    (words, chunk), (tokens, coded) = asked
    assert (words, tokens) == (chunk_question(WORDS), chunk_question(TOKENS))
    assert (chunk[:2], coded[:2]) == ("[[", "<u")


def test_each_token_form_among_the_models_has_a_row_of_its_own_in_the_lens():
    own = "tokens:0.5cm:a,b,c,d,e,f,g,h,i,j"
    assert token_forms(["", "rows:0.5cm", own, TOKENS, own]) == (own, TOKENS)
    assert token_forms(["", "rows:0.5cm"]) == (TOKENS,)
    words, first, second = all_forms("[[2.5, 0.0, -1.0, 1]]", (own, TOKENS))
    assert [form(name).parse(text) for name, text in ((own, first), (TOKENS, second))] == [form(WORDS).parse(words)] * 2


def test_the_lens_over_chunks_names_what_cannot_score_and_goes_on():
    class Model:
        name = "base"

        def score(self, messages, answer):
            return (Token(answer, -1.0 if answer[0] == "[" else -6.0),)

    class Deaf:
        name = "server"

        def score(self, messages, answer):
            raise ModelError("the server does not tell")

    chunk = AskedChunk("pick up the cube", [], [], "[[2.5, 0.0, -1.0, 1]]")
    records = list(over_chunks([Model(), Deaf()], [chunk, chunk]))
    assert [record["model"] for record in records] == ["base", "server", "base"]
    assert records[1]["problem"] == "the server does not tell"
    assert (records[2]["words"], records[2]["tokens"], records[2]["done"], records[2]["total"]) == (-1.0, -6.0, 2, 2)
