"""The likelihood lens: how probable given words are under each model, token by token.

The argument of the method made visible: an action written in words is likely under a model that never saw actions, the
same action in action tokens is not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from vlm2vla.chat.actions import TOKENS, WORDS, chunk_question
from vlm2vla.errors import ActionParseError, ConfigError, VLM2VLAError
from vlm2vla.language import form
from vlm2vla.vlm.chat import ChatModel, Message

MAX_TEXTS = 8


@dataclass(frozen=True)
class Score:
    """How probable one text is under one model.

    Attributes:
        model: Name.
        tokens: (text, natural log of the probability) of each token.
        total: Their sum: log-probability of the whole text.
        mean: Per token.
        problem: Why there is no score, "" where there is one.
    """

    model: str
    tokens: tuple[tuple[str, float], ...] = ()
    total: float | None = None
    mean: float | None = None
    problem: str = ""


def score_text(model: ChatModel, messages: Sequence[Message], text: str) -> Score:
    """The log-probability of `text` as the reply of `model` to `messages`."""
    try:
        tokens = model.score(messages, text)
    except VLM2VLAError as error:
        return Score(model.name, problem=str(error))
    pairs = tuple((token.text, round(token.logprob, 4)) for token in tokens)
    total = sum(value for _, value in pairs)
    return Score(model.name, pairs, round(total, 4), round(total / len(pairs), 4) if pairs else None)


def token_forms(forms: Iterable[str]) -> tuple[str, ...]:
    """Each token form among the forms of models once; the one with Gemma's reserved tokens where there is none."""
    return tuple(dict.fromkeys(name for name in forms if name.startswith("tokens"))) or (TOKENS,)


def all_forms(text: str, tokens: Sequence[str] = (TOKENS,)) -> tuple[str, ...]:
    """An action chunk in words, and in the action tokens of each form; empty where `text` is no action chunk."""
    for name in (WORDS, *tokens):
        try:
            chunk = form(name).parse(text)
        except ActionParseError:
            continue
        return tuple(form(each).verbalize(chunk) for each in (WORDS, *tokens))
    return ()


def look(
    models: Sequence[ChatModel],
    messages: Mapping[str, Sequence[Message]],
    texts: Sequence[str],
    tokens: Sequence[str] = (TOKENS,),
) -> list[dict[str, Any]]:
    """Score several texts under several models; an action chunk is scored in words and in action tokens.

    A question that asks for words or for tokens is turned into the other one for the other form, so that each is scored
    as the answer that was asked for.

    Args:
        models: Who is asked.
        messages: By the model's name, what the texts would answer.
        texts: The texts.
        tokens: Names of the token forms; models that were trained with other digits each have a row for theirs.

    Returns:
        One row per text: text, kind ("text", "words", "tokens") and a score per model.

    Raises:
        ConfigError: No text, or too many.
    """
    wanted = [text for text in (each.strip() for each in texts) if text]
    if not wanted or len(wanted) > MAX_TEXTS:
        raise ConfigError(f"give 1 to {MAX_TEXTS} texts to score")
    rows = []
    for text in wanted:
        said = all_forms(text, tokens)
        kinds = ("words", *("tokens" for _ in tokens)) if said else ("text",)
        for kind, words in zip(kinds, said or (text,), strict=True):
            scores = [asdict(score_text(model, _asking(messages[model.name], kind), words)) for model in models]
            rows.append({"text": words, "kind": kind, "scores": scores})
    return rows


def _asking(messages: Sequence[Message], kind: str) -> Sequence[Message]:
    """The messages, with the last one asking for this kind where it asks for a chunk."""
    questions = {"words": chunk_question(WORDS), "tokens": chunk_question(TOKENS)}
    if kind not in questions or not messages or messages[-1].text.strip() not in questions.values():
        return messages
    last = messages[-1]
    return [*messages[:-1], replace(last, parts=(*last.images, questions[kind]))]


@dataclass(frozen=True)
class ChunkScore:
    """One annotated chunk under one model, in words and in action tokens.

    Attributes:
        model: Name.
        place: Episode and subtask.
        words, tokens: Log-probability of the whole chunk in either form.
        words_mean, tokens_mean: Per token.
    """

    model: str
    place: str
    words: float
    tokens: float
    words_mean: float
    tokens_mean: float


@dataclass(frozen=True)
class AskedChunk:
    """One annotated chunk with the conversations that ask for it.

    Attributes:
        place: Episode and subtask.
        ask_words, ask_tokens: Up to the open question, in either form.
        text: The chunk in words.
    """

    place: str
    ask_words: Sequence[Message]
    ask_tokens: Sequence[Message]
    text: str


def over_chunks(
    models: Sequence[ChatModel], chunks: Sequence[AskedChunk], forms: Mapping[str, str] = MappingProxyType({})
) -> Iterator[dict[str, Any]]:
    """The same comparison over many annotated chunks; `forms` names the action forms of models that write in one.

    Yields:
        {"done", "total"} and a `ChunkScore` as plain values for each chunk and model; {"model", "problem"} once for a
        model that cannot score.
    """
    failed: set[str] = set()
    digits = {model.name: token_forms([forms.get(model.name, ""), *forms.values()])[0] for model in models}
    for done, chunk in enumerate(chunks, 1):
        readable = all_forms(chunk.text)
        for model in models if readable else ():
            if model.name in failed:
                continue
            said, coded = all_forms(chunk.text, (digits[model.name],))
            words, tokens = score_text(model, chunk.ask_words, said), score_text(model, chunk.ask_tokens, coded)
            problem = words.problem or tokens.problem
            if problem:
                failed.add(model.name)
                yield {"model": model.name, "problem": problem}
            elif words.tokens and tokens.tokens:
                score = ChunkScore(model.name, chunk.place, words.total, tokens.total, words.mean, tokens.mean)
                yield {"done": done, "total": len(chunks), **asdict(score)}
        if not readable:
            yield {"done": done, "total": len(chunks)}
