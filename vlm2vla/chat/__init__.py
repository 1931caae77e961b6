"""Base beside fine-tuned, by hand: conversations with several models at once, blind votes, and the likelihood lens."""

from vlm2vla.chat.conversation import Answer, Conversation, Exchange, Vote
from vlm2vla.chat.images import checked_image
from vlm2vla.chat.service import Chat
from vlm2vla.chat.store import ChatStore
from vlm2vla.chat.votes import win_rates

__all__ = ["Answer", "Chat", "ChatStore", "Conversation", "Exchange", "Vote", "checked_image", "win_rates"]
