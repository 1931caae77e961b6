"""Conversations as the page shows them: without names while they are blind."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vlm2vla.chat.actions import next_question, said_in_actions
from vlm2vla.chat.conversation import Conversation

JSON = dict[str, Any]
HIDDEN_PROBLEM = "This side failed; what went wrong may name the model, so it is told when the sides are revealed."


def conversation_view(conversation: Conversation, forms: Mapping[str, str]) -> JSON:
    """The whole conversation, plain JSON values; panes from left to right.

    Args:
        conversation: Which.
        forms: Names of the action forms in which its models write, where that is known.
    """
    return {
        "id": conversation.id,
        "title": conversation.title,
        "name": conversation.name,
        "panes": _panes(conversation),
        "system": conversation.system,
        "sampling": asdict(conversation.sampling),
        "blind": conversation.blind,
        "exchanges": [exchange_view(conversation, number, forms) for number in range(len(conversation.exchanges))],
        "changed": conversation.changed,
    }


def exchange_view(conversation: Conversation, number: int, forms: Mapping[str, str]) -> JSON:
    """One question with its answers in the order of the panes; None for a pane that was added later."""
    exchange = conversation.exchanges[number]
    answers = [exchange.answers.get(name) for name in conversation.models]
    says = [
        said_in_actions(exchange.text, answer.text, forms.get(name, "")) if answer and answer.end != "writing" else None
        for name, answer in zip(conversation.models, answers, strict=True)
    ]
    whole = [answer.text for answer in answers if answer and answer.end == "done"]
    return {
        "exchange": number,
        "text": exchange.text,
        "images": list(exchange.images),
        "answers": [
            asdict(answer) | {"problem": shown_problem(answer.problem, conversation), "says": said} if answer else None
            for answer, said in zip(answers, says, strict=True)
        ],
        "sampling": asdict(exchange.sampling),
        "vote": exchange.vote.choice if exchange.vote else None,
        "next": next_question(exchange.text, whole, [forms.get(name, "") for name in conversation.models]),
    }


def shown_problem(problem: str, conversation: Conversation) -> str:
    """A message for people; in a blind conversation one that names nobody, no folder and no address."""
    return HIDDEN_PROBLEM if problem and conversation.blind else problem


def _panes(conversation: Conversation) -> list[JSON]:
    letters = "ABCD"
    return [
        {"title": f"Model {letters[index]}", "model": ""} if conversation.blind else {"title": name, "model": name}
        for index, name in enumerate(conversation.models)
    ]
