"""Conversations as the page shows them: without names while they are blind."""

from dataclasses import asdict
from typing import Any

from vlm2vla.chat.actions import next_question, said_in_actions
from vlm2vla.chat.conversation import Answer, Conversation

JSON = dict[str, Any]
HIDDEN_PROBLEM = "This side failed; what went wrong may name the model, so it is told when the sides are revealed."


def conversation_view(conversation: Conversation) -> JSON:
    """The whole conversation, plain JSON values; panes from left to right."""
    return {
        "id": conversation.id,
        "title": conversation.title,
        "name": conversation.name,
        "panes": _panes(conversation),
        "system": conversation.system,
        "sampling": asdict(conversation.sampling),
        "blind": conversation.blind,
        "exchanges": [exchange_view(conversation, number) for number in range(len(conversation.exchanges))],
        "changed": conversation.changed,
    }


def exchange_view(conversation: Conversation, number: int) -> JSON:
    """One question with its answers in the order of the panes; None for a pane that was added later."""
    exchange = conversation.exchanges[number]
    answers = [exchange.answers.get(name) for name in conversation.models]
    whole = [answer.text for answer in answers if answer and answer.end == "done"]
    return {
        "exchange": number,
        "text": exchange.text,
        "images": list(exchange.images),
        "answers": [_answer(exchange.text, answer, conversation) if answer else None for answer in answers],
        "sampling": asdict(exchange.sampling),
        "vote": exchange.vote.choice if exchange.vote else None,
        "next": next_question(exchange.text, whole),
    }


def shown_problem(problem: str, conversation: Conversation) -> str:
    """A message for people; in a blind conversation one that names nobody, no folder and no address."""
    return HIDDEN_PROBLEM if problem and conversation.blind else problem


def _answer(question: str, answer: Answer, conversation: Conversation) -> JSON:
    return asdict(answer) | {
        "problem": shown_problem(answer.problem, conversation),
        "says": said_in_actions(question, answer.text) if answer.end != "writing" else None,
    }


def _panes(conversation: Conversation) -> list[JSON]:
    letters = "ABCD"
    return [
        {"title": f"Model {letters[index]}", "model": ""} if conversation.blind else {"title": name, "model": name}
        for index, name in enumerate(conversation.models)
    ]
