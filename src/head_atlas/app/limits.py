"""What one visitor may ask of a public server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from head_atlas.errors import PromptError

MAY_BE_OFF = ("runs_per_minute", "runs_at_once", "reads_per_minute")
"""Limits for which 0 means none; on a machine of one's own that is their default."""


def well_formed(text: str) -> bool:
    """Whether a text can be encoded: a lone surrogate cannot, and may arrive from anyone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Limits:
    """Limits of the Lab, and of programs. Each can be set by an environment variable of the same name in capitals.

    Attributes:
        prompt_characters: longest text that is tokenised at all.
        prompt_tokens: longest prompt, BOS counted in; the model's own limit holds too.
        removed_heads: heads that may be removed at once in one experiment.
        run_seconds: longest time that one run may hold the model, looked at in front of every layer; what it waits for
            others does not count.
        wait_seconds: longest wait for a turn while others use the model.
        queue_size: runs of all visitors that may be under way or waiting.
        runs_per_minute: runs that one visitor may start in a minute, and at once; 0 is no limit.
        runs_at_once: runs of one visitor that may be under way or waiting; 0 is no limit.
        reads_per_minute: public calls that only read atlases which one visitor may make in a minute, and at once; 0 is
            no limit. What the page itself reads is not counted.
    """

    prompt_characters: int = 2000
    prompt_tokens: int = 128
    removed_heads: int = 64
    run_seconds: int = 120
    wait_seconds: int = 120
    queue_size: int = 32
    runs_per_minute: int = 30
    runs_at_once: int = 8
    reads_per_minute: int = 600

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, public: bool = True) -> Limits:
        """Defaults, with what the environment sets.

        Args:
            environment: variables by name.
            public: whether others than the owner of the machine are served; if not, nobody is counted by default.

        Raises:
            ValueError: a variable is not a whole number above zero, or zero where that means no limit; the message
                names it.
        """
        values: dict[str, int] = {} if public else dict.fromkeys(MAY_BE_OFF, 0)
        for name in cls.__dataclass_fields__:
            text = environment.get(name.upper())
            if text is None or not text.strip():
                continue
            least = 0 if name in MAY_BE_OFF else 1
            if not text.strip().isdecimal() or int(text) < least:
                allowed = "above 0" if least else "or 0"
                raise ValueError(f"{name.upper()} must be a whole number {allowed}, found {text!r}")
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
