"""Answers to prompts: rows of one batch, each with an adapter of its own, token by token.

The model is used for one step at a time, so that other answers can go on in between and a stop is heard at once.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm2vla.errors import ModelError, ModelUnavailableError
from vlm2vla.vlm.chat import Sampling, Token
from vlm2vla.vlm.local.prompt import Prompt
from vlm2vla.vlm.local.reading import Reading
from vlm2vla.vlm.local.weights import Weights
from vlm2vla.vlm.local.writing import Judged, Spelling, Writer, alternatives


@dataclass(frozen=True)
class Row:
    """One answer of a batch.

    Attributes:
        adapter: Id of the adapter, "" for the base.
        prompt: What is answered.
    """

    adapter: str
    prompt: Prompt


def answer_rows(
    weights: Weights, rows: Sequence[Row], sampling: Sampling, stopped: threading.Event | None = None
) -> Iterator[tuple[int, Token | ModelError]]:
    """(row, token) step by step; a row that fails gives its error and leaves the batch.

    Raises:
        ModelError: What concerns all rows: a prompt that is too long, no memory.
    """
    writers = [make_writer(weights, row.prompt, sampling) for row in rows]
    if is_set(stopped):
        return
    reading = Reading(weights, [row.adapter for row in rows])
    judged = Judged(reading.read_prompts([row.prompt for row in rows])[:, -1])
    going = list(range(len(rows)))
    while going:
        places = []
        for place, row in enumerate(going):
            try:
                token = writers[row].take(judged, place)
            except ModelError as error:
                yield row, error
                continue
            yield row, token
            if not writers[row].ended:
                places.append(place)
        if is_set(stopped) or not places:
            return
        if len(places) < len(going):
            reading.keep_rows(places)
            going = [going[place] for place in places]
        judged = None
        while going and judged is None:
            lost = [row for row in going if not weights.attached(rows[row].adapter)]
            for row in lost:
                yield row, ModelUnavailableError("this adapter was unloaded in the meantime; ask again to load it")
            if lost:
                reading.keep_rows([place for place, row in enumerate(going) if row not in lost])
                going = [row for row in going if row not in lost]
            judged = _judged(reading, [writers[row].written[-1:] for row in going]) if going else None


def _judged(reading: Reading, ids: Sequence[Sequence[int]]) -> Judged | None:
    """What the model thinks behind these tokens; None where an adapter was unloaded just now, so that others go on."""
    try:
        return Judged(reading.read_ids(ids)[:, -1])
    except ModelUnavailableError:
        if all(reading.weights.attached(adapter) for adapter in reading.rows):
            raise
        return None


def checked(weights: Weights, prompt: Prompt, adapter: str) -> Prompt:
    """The prompt, if it is short enough and its images can be read; they are encoded then.

    Raises:
        ModelError: It is not.
    """
    weights.room(prompt, 1)
    for place in prompt.places:
        weights.features(place, adapter)
    return prompt


def make_writer(weights: Weights, prompt: Prompt, sampling: Sampling) -> Writer:
    """What takes the tokens of an answer to `prompt`.

    Raises:
        ModelInputError: No room for an answer, or a grammar that cannot be used.
    """
    room = weights.room(prompt, sampling.max_new_tokens)
    follower = weights.grammars().start(sampling.grammar, prompt.given) if sampling.grammar else None
    return Writer(sampling, spelling(weights, prompt), weights.ends, room, follower)


def spelling(weights: Weights, prompt: Prompt) -> Spelling:
    """What makes text of the tokens behind `prompt`."""
    return Spelling(weights.texts, weights.prompts.control_ids | weights.ends, prompt.given_ids)


def score_tokens(weights: Weights, prompt: Prompt, ids: Sequence[int], logits, top: int = 0) -> tuple[Token, ...]:
    """Tokens of a given answer with their probabilities.

    Args:
        weights: Whose tokenizer is used.
        prompt: What the answer follows.
        ids: The answer.
        logits: [n + 1, vocabulary] from the last token of the prompt on.
        top: Alternatives to report.
    """
    text = spelling(weights, prompt)
    logprobs = logits.log_softmax(dim=-1).cpu()
    return tuple(
        Token(text.add(token), float(row[token]), alternatives(weights.texts, row, top) if top else ())
        for token, row in zip(ids, logprobs, strict=False)
    )


def is_set(stopped: threading.Event | None) -> bool:
    """Was the answer cancelled?"""
    return stopped is not None and stopped.is_set()
