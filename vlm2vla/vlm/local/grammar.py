"""Answers that follow a grammar, by xgrammar: which tokens may come next, and which must."""

import json
import re
import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlm2vla.errors import ModelInputError
from vlm2vla.native import load_in_order

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_WHOLE = re.compile(r"<[^<>\s]+>")
_FEW, _MANY = 32, 4096


def json_grammar(schema: Mapping[str, Any]) -> str:
    """EBNF of the JSON values that fit a schema, each written in one way: no free white space.

    Raises:
        ModelInputError: It is no schema, or one with something that xgrammar does not know.
    """
    load_in_order()
    import xgrammar

    try:
        return str(xgrammar.Grammar.from_json_schema(json.dumps(schema), any_whitespace=False))
    except (RuntimeError, ValueError) as error:
        raise ModelInputError(f"the JSON schema cannot be used: {_reason(error)}") from error


class Grammars:
    """Compiles grammars for one tokenizer; keeps what it compiled."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]):
        """Read the tokenizer; takes half a second for Gemma's 262,144 tokens.

        Args:
            tokenizer: Of transformers.
            vocabulary: Size of the model's logits; it may be more than the tokenizer has.
            ends: Ids that end an answer; allowed exactly where the grammar is complete.
        """
        load_in_order()
        import xgrammar

        self._tokenizer = tokenizer
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocabulary, stop_token_ids=[end for end in sorted(ends) if end < vocabulary]
        )
        self._compiler = xgrammar.GrammarCompiler(info)
        self.vocabulary = vocabulary
        self._lock = threading.Lock()
        self._texts: dict[int, str] = {}
        self.misspelt = self._misspelt()
        self.whole = {
            number: token.content
            for number, token in tokenizer.added_tokens_decoder.items()
            if number < vocabulary and _WHOLE.fullmatch(token.content)
        }
        self.whole_ids = torch.tensor(sorted(self.whole), dtype=torch.long)

    def start(self, ebnf: str, given: str = "") -> "Follower":
        """A follower of the grammar, which already has the beginning `given` behind it.

        Raises:
            ModelInputError: No EBNF that xgrammar takes, or a beginning that does not follow it.
        """
        import xgrammar

        try:
            with self._lock:
                compiled = self._compiler.compile_grammar(ebnf)
        except RuntimeError as error:
            raise ModelInputError(f"the grammar cannot be used: {_reason(error)}") from error
        matcher = xgrammar.GrammarMatcher(compiled)
        if given and not matcher.accept_string(given):
            raise ModelInputError(f"the answer's given beginning {given[:80]!r} does not follow the grammar")
        return Follower(matcher, self, xgrammar.allocate_token_bitmask(1, self.vocabulary))

    def first_token(self, text: str) -> int:
        """The token that the tokenizer begins a text with."""
        return self._tokenizer(text, add_special_tokens=False)["input_ids"][0]

    def text_of(self, token: int) -> str:
        """A token's own text; "" for bytes and for tokens that the tokenizer does not know."""
        if token not in self._texts:
            name = self._tokenizer.convert_ids_to_tokens(token) if token < len(self._tokenizer) else None
            is_text = name and not _BYTE.fullmatch(name)
            self._texts[token] = self._tokenizer.decode([token]) if is_text else ""
        return self._texts[token]

    def _misspelt(self) -> Tensor:
        """Bool [vocabulary]: bytes of characters that have a token of their own."""
        found = torch.zeros(self.vocabulary, dtype=torch.bool)
        table = self._tokenizer.get_vocab()
        for code in range(33, 127):
            number = table.get(f"<0x{code:02X}>")
            if number is not None and chr(code) in table:
                found[number] = True
        if "<0x20>" in table and "▁" in table:
            found[table["<0x20>"]] = True
        return found


class Follower:
    """One answer on its way through a grammar."""

    def __init__(self, matcher: Any, grammars: Grammars, mask: Tensor):
        """Begin where the matcher stands."""
        self._matcher, self._grammars, self._mask = matcher, grammars, mask

    def allowed(self) -> Tensor:
        """Bool [vocabulary]: tokens that may come next, in the tokenizer's own spelling.

        A byte where the character has a token, or the first letters of a reserved token, would follow the grammar
        too, but no training text is spelt so.
        """
        self._matcher.fill_next_token_bitmask(self._mask)
        bits = torch.arange(32, dtype=torch.int32)
        allowed = ((self._mask[0, :, None] >> bits) & 1).flatten()[: self._grammars.vocabulary].bool()
        spelt = allowed & ~self._grammars.misspelt
        places = self._grammars.whole_ids
        whole = [self._grammars.whole[number] for number in places[spelt[places]].tolist()]
        choices = spelt.nonzero()[:, 0].tolist() if whole else []
        if len(choices) <= _MANY:  # free text: anything goes
            for number in choices:
                text = self._grammars.text_of(number)
                if number not in self._grammars.whole and text and any(each.startswith(text) for each in whole):
                    spelt[number] = False
        return spelt if spelt.any() else allowed

    def accept(self, token: int) -> bool:
        """Go on with a token; False where it is not allowed."""
        return self._matcher.accept_token(token)

    def forced(self) -> list[int]:
        """Tokens that must come next, written in the only way that fits; the follower has accepted them.

        Where the text is certain but the tokens are not (a longer token could begin here), it is left to the model.
        """
        taken: list[int] = []
        while text := self._matcher.find_jump_forward_string():
            allowed = self.allowed().nonzero()[:, 0].tolist() if not self.ended else []
            if (
                not allowed
                or len(allowed) > _FEW
                or not all(text.startswith(self._grammars.text_of(t)) for t in allowed)
            ):
                break
            token = self._grammars.first_token(text)
            if token not in allowed or not self._matcher.accept_token(token):
                break
            taken.append(token)
        return taken

    @property
    def ended(self) -> bool:
        """The end of the answer was accepted."""
        return self._matcher.is_terminated()


def _reason(error: Exception) -> str:
    """What xgrammar says, without the time and the place in its source."""
    return re.sub(r"^\[[\d:]+\] \S+?:\d+: ", "", str(error).strip())[:500]
