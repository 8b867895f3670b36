"""The one way from text to tokens, offline and live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from head_atlas.errors import PromptError

BosPolicy = Literal["bos", "eos", "none"]


class TokenPolicy:
    """Turns text into token ids with BOS prepended exactly once.

    Without a BOS token, EOS takes its place (`bos_policy == "eos"`); without either, nothing is
    prepended (`"none"`). Special tokens typed in a text stay text.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos_policy: BosPolicy
        self.bos_id: int | None
        if tokenizer.bos_token_id is not None:
            self.bos_policy, self.bos_id = "bos", int(tokenizer.bos_token_id)
        elif tokenizer.eos_token_id is not None:
            self.bos_policy, self.bos_id = "eos", int(tokenizer.eos_token_id)
        else:
            self.bos_policy, self.bos_id = "none", None

    @property
    def prefix(self) -> tuple[int, ...]:
        """What stands before every prompt: the BOS id, or nothing."""
        return () if self.bos_id is None else (self.bos_id,)

    def pieces_of(self, text: str) -> tuple[int, ...]:
        """Token ids of a text alone, without BOS."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def spelled_out(self, text: str) -> tuple[str, ...]:
        """The special tokens whose names a text holds; they stay text all the same."""
        return tuple(name for name in dict.fromkeys(self.tokenizer.all_special_tokens) if name in text)

    def encode(self, text: str, *, max_length: int | None = None) -> tuple[int, ...]:
        """Token ids of a prompt, BOS first.

        Raises:
            PromptError: the text is empty, or longer than `max_length` tokens, BOS counted in.
        """
        ids = self.pieces_of(text)
        if not ids:
            raise PromptError("the prompt is empty: type some text")
        ids = self.prefix + ids
        if max_length is not None and len(ids) > max_length:
            raise PromptError(f"the prompt is {len(ids)} tokens long; at most {max_length} are possible here")
        return ids

    def single(self, text: str) -> int:
        """The id of a text that is exactly one token.

        Raises:
            PromptError: it is none, or several; the message names the pieces.
        """
        ids = self.pieces_of(text)
        if len(ids) != 1:
            raise PromptError(f"{text!r} must be exactly one token; here it is {len(ids)}: {self.strings(ids)}")
        return ids[0]

    def strings(self, ids: Sequence[int]) -> list[str]:
        """Each token decoded alone. Bytes that are not a whole character show as U+FFFD."""
        return [self.tokenizer.decode([int(i)], clean_up_tokenization_spaces=False) for i in ids]
