"""The prompt families that heads are measured on, built for the tokenizer at hand. No model is involved.

Families of `templates` and `further_templates` have determined answers; `rand_repeat` and `rand_flat` are random
tokens of any tokenizer; `natural` is running text; `sink_probe` is text with different starts; `syntax` is sentences
with annotated grammar. A family that cannot be built for a tokenizer is left out and named.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from head_atlas.errors import PromptError
from head_atlas.prompts.families.from_templates import CONTAINED_TEMPLATES, SMALLEST_SHARE, build_from_templates
from head_atlas.prompts.families.natural import NATURAL_LENGTH, build_natural
from head_atlas.prompts.families.random_tokens import build_rand_flat, build_rand_repeat
from head_atlas.prompts.families.sink_probe import build_sink_probe
from head_atlas.prompts.families.syntax import build_syntax
from head_atlas.prompts.further_templates import FURTHER_SAMPLERS
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.running_text import RunningText
from head_atlas.prompts.templates import SAMPLERS
from head_atlas.prompts.tokens import TokenPolicy

__all__ = ["CONTAINED_TEMPLATES", "FAMILIES", "Families", "build_families"]

FAMILIES: tuple[str, ...] = (
    "rand_repeat",
    "rand_flat",
    "natural",
    "sink_probe",
    "syntax",
    *SAMPLERS,
    *FURTHER_SAMPLERS,
)


_BUILDERS: dict[str, Callable[[TokenPolicy, random.Random, int], tuple[list[Prompt], str]]] = {
    "rand_repeat": lambda *of: (build_rand_repeat(*of), ""),
    "rand_flat": lambda *of: (build_rand_flat(*of), ""),
    "sink_probe": build_sink_probe,
    "syntax": build_syntax,
}


@dataclass(frozen=True)
class Families:
    """Prompts by family.

    Attributes:
        prompts: by family, in the order of `FAMILIES`.
        left_out: by family, why it could not be built.
        notes: by family that is there, what is missing in it.
    """

    prompts: dict[str, list[Prompt]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def build_families(
    policy: TokenPolicy,
    *,
    n_prompts: int = 100,
    seed: int = 0,
    only: Iterable[str] | None = None,
    corpus: RunningText | None = None,
    natural_length: int = NATURAL_LENGTH,
    max_length: int | None = None,
    reserved: bool = False,
) -> Families:
    """Build prompts for a tokenizer: half of each family in the train split, half held out.

    The same arguments give the same prompts on every machine, and a family does not depend on the others.

    Args:
        policy: the tokenizer and its BOS.
        n_prompts: per family.
        seed: of everything that is drawn.
        only: names of families; None for all.
        corpus: the user's own text for `natural`; None for the paragraphs of this project, or for generated stories
            where the tokenizer was made for these.
        natural_length: most tokens of a natural prompt, BOS counted in.
        max_length: most tokens that the model reads.
        reserved: whether `natural` is of the paragraphs that are never measured, if it is of paragraphs.

    Raises:
        PromptError: an unknown family, or fewer than two prompts asked for.
        CorpusError: the corpus cannot be read.
    """
    wanted = list(FAMILIES) if only is None else list(dict.fromkeys(only))
    unknown = [name for name in wanted if name not in FAMILIES]
    if unknown:
        raise PromptError(f"unknown family {unknown[0]!r}; there are {', '.join(FAMILIES)}")
    if n_prompts < 2:
        raise PromptError(f"a family needs at least 2 prompts, one of each split; found {n_prompts}")
    built = Families()
    for name in sorted(wanted, key=FAMILIES.index):
        rng = random.Random(f"{seed}/{name}")
        try:
            if name == "natural":
                length = natural_length if max_length is None else min(natural_length, max_length)
                prompts, note = build_natural(policy, rng, n_prompts, length, corpus, reserved=reserved)
            elif name in _BUILDERS:
                prompts, note = _BUILDERS[name](policy, rng, n_prompts)
            else:
                prompts, note = build_from_templates(name, policy, rng, n_prompts)
        except PromptError as error:
            built.left_out[name] = str(error)
            continue
        fitting = [p for p in prompts if max_length is None or len(p) <= max_length]
        if len(fitting) < len(prompts):
            too_long = f"{len(prompts) - len(fitting)} prompts are longer than the model's {max_length} tokens"
            note = f"{note}; {too_long}" if note else too_long
            if len(fitting) < SMALLEST_SHARE * n_prompts:
                fitting = []
        n_aligned = sum(bool(p.corrupted) for p in fitting)
        if 0 < n_aligned < len(fitting):
            unaligned = f"{n_aligned} of {len(fitting)} prompts have a corrupted prompt of as many tokens"
            note = f"{note}; {unaligned}" if note else unaligned
        if fitting:
            built.prompts[name] = fitting
        if note:
            (built.notes if fitting else built.left_out)[name] = note
    return built
