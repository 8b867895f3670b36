"""What one visitor may ask of a public server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from head_atlas.errors import PromptError


def well_formed(text: str) -> bool:
    """Whether a text can be encoded: a lone surrogate cannot, and may arrive from anyone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Limits:
    """Limits of the Lab. Each can be set by an environment variable of the same name in capitals.

    Attributes:
        prompt_characters: longest text that is tokenised at all.
        prompt_tokens: longest prompt, BOS counted in; the model's own limit holds too.
        wait_seconds: longest wait for a model that someone else is using.
        run_seconds: longest sweep over all heads.
        queue_size: visitors that may wait in the queue.
        removed_heads: heads that may be removed at once in one experiment.
    """

    prompt_characters: int = 2000
    prompt_tokens: int = 128
    wait_seconds: int = 30
    run_seconds: int = 120
    queue_size: int = 32
    removed_heads: int = 64

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Limits:
        """Defaults, with what the environment sets.

        Raises:
            ValueError: a variable is not a whole number above zero; the message names it.
        """
        values: dict[str, int] = {}
        for name in cls.__dataclass_fields__:
            text = environment.get(name.upper())
            if text is None or not text.strip():
                continue
            if not text.strip().isdecimal() or int(text) < 1:
                raise ValueError(f"{name.upper()} must be a whole number above 0, found {text!r}")
            values[name] = int(text)
        return cls(**values)

    def check_text(self, text: str) -> str:
        """Return a prompt that may be tokenised.

        Raises:
            PromptError: it is empty, has too many characters, or one that is none.
        """
        if not well_formed(text):
            raise PromptError("The prompt holds half of a character (a lone surrogate), which no tokenizer can read.")
        if not text or not text.strip():
            raise PromptError("The prompt is empty: type some text, or pick one of the examples.")
        if len(text) > self.prompt_characters:
            raise PromptError(
                f"The prompt is {len(text)} characters long; at most {self.prompt_characters} are possible here."
            )
        return text
