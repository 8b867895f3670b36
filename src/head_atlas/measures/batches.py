"""Which prompts run together: of one length, at most so many tokens, in order of first appearance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from head_atlas.prompts.prompt import Prompt

TOKENS_PER_BATCH = 2**11
"""A constant: what runs together must not depend on the machine, or the last bits of results would."""


def batches(prompts: Sequence[Prompt], alike: Callable[[Prompt], Hashable] = len) -> Iterator[list[int]]:
    """Yield indices of prompts that run together.

    Args:
        prompts: of any lengths.
        alike: prompts run together only if this agrees; their lengths are part of it.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault((len(prompt), alike(prompt)), []).append(index)
    for members in groups.values():
        size = max(1, TOKENS_PER_BATCH // len(prompts[members[0]]))
        yield from (members[start : start + size] for start in range(0, len(members), size))
