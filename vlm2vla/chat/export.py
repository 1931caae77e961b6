"""A conversation as Markdown, for reports and issues."""

from datetime import UTC, datetime

from vlm2vla.chat.conversation import Answer, Conversation

_ENDS = {"length": "cut at the longest answer", "stopped": "stopped", "error": "failed"}


def to_markdown(conversation: Conversation) -> str:
    """Questions, and the answers of each model under its name; images by their id."""
    when = datetime.fromtimestamp(conversation.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"# {conversation.title}", "", f"{when}. Models: {', '.join(conversation.models)}.", ""]
    lines += [f"- {name}: {what}" for name, what in conversation.identity.items()]
    if conversation.system:
        lines += ["", f"> {conversation.system}"]
    for number, exchange in enumerate(conversation.exchanges, 1):
        sampling = exchange.sampling
        lines += ["", f"## {number}. {exchange.text}", ""]
        lines += [f"![image](images/{image}.jpg)" for image in exchange.images]
        lines += [f"Temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, seed {sampling.seed}.", ""]
        for name in conversation.models:
            answer = exchange.answers.get(name)
            lines += [f"**{name}**{_remark(answer)}", "", *_quoted(answer), ""]
        if exchange.vote:
            kind = "blind vote" if exchange.vote.blind else "vote"
            lines.append(f"{kind.capitalize()}: {exchange.vote.choice} ({' | '.join(exchange.vote.order)})")
    return "\n".join(lines).rstrip() + "\n"


def _remark(answer: Answer | None) -> str:
    if answer is None:
        return " (not asked)"
    return f" ({_ENDS[answer.end]})" if answer.end in _ENDS else ""


def _quoted(answer: Answer | None) -> list[str]:
    text = (answer.text or answer.problem) if answer else ""
    return [f"> {line}" if line else ">" for line in text.splitlines()]
