"""Everything that a build can measure, in the order it runs: a new measure is one entry here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from head_atlas.build import model_units, null_units, text_units, units, weight_units
from head_atlas.build.measurement import Corpus, Measurement, Run, Work
from head_atlas.build.role_evidence import role_mode
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.measures.nulls import NULL_FAMILIES
from head_atlas.prompts.prompt import Prompt

N_DRAWS = 5
"""Prompts whose activations resample ablation puts in place."""
NO_PROMPTS = "none of the prompts in this atlas is one that it is measured on"


def _no_means(corpus: Corpus) -> str:
    return "" if corpus.reference else "mean ablation needs the natural family for its means"


def _no_draws(corpus: Corpus) -> str:
    if len(corpus.resample) >= N_DRAWS:
        return ""
    return (
        f"resample ablation needs {N_DRAWS} natural prompts that are not measured and are as long as the longest "
        f"measured one, found {len(corpus.resample)}"
    )


def _no_null(corpus: Corpus) -> str:
    families = dict.fromkeys(NULL_FAMILIES.values())
    there = any(family in corpus.families for family in families)
    return "" if there else f"measured on {', '.join(families)}, not in this atlas"


def _needs(family: str) -> Callable[[Corpus], str]:
    return lambda corpus: "" if family in corpus.families else f"measured on {family}, not in this atlas"


def _no_family(corpus: Corpus) -> str:
    constructed = set(corpus.families) - {text_units.TEXT_FAMILY}
    return "" if constructed else "measured on constructed families, none of which is in this atlas"


def _no_neurons(corpus: Corpus) -> str:
    there = any(model_units.has_neurons(prompt) for prompts in corpus.families.values() for prompt in prompts)
    return "" if there else NO_PROMPTS


_LACKS = {"mean": _no_means, "resample": _no_draws}
_RUNS = {"resample": N_DRAWS, "pattern_freeze": 1.1}
"""How often the model runs for each head, where it is not once."""


def _effects(mode: str) -> Measurement:
    runs = _RUNS.get(mode, 1)
    return Measurement(
        mode,
        partial(units.effects, mode),
        work=lambda tokens, heads: tokens * (1 + runs * heads / 2),
        prompts=units.effect_prompts(mode),
        mode=mode,
        needs=lambda _: (REFERENCE.kind,) if mode == "mean" else (),
        lacks=_LACKS.get(mode, lambda _: ""),
    )


def _whole(
    kind: str, run: Run, work: Work, prompts: Callable[[Prompt], bool], *, quick: bool = True, **more: Any
) -> Measurement:
    """A measurement that is done once, on all its prompts together."""
    return Measurement(kind, run, work, prompts, whole=True, quick=quick, **more)


def _exemplars(kind: str, *, text: bool) -> Measurement:
    """Exemplars on running text, or on all other families; the two are kept apart."""
    return _whole(
        kind,
        partial(text_units.exemplars, "text" if text else "families"),
        lambda tokens, _: 3 * tokens,
        lambda prompt: (prompt.family == text_units.TEXT_FAMILY) == text,
        # harmed prompts are chosen by the effects that roles are judged by
        needs=lambda modes: tuple(filter(None, [role_mode(modes)])),
        numbered=("prompt_index",),
        lacks=_needs(text_units.TEXT_FAMILY) if text else _no_family,
    )


def _of(*families: str) -> Callable[[Prompt], bool]:
    return lambda prompt: prompt.family in families


_NO_PROMPT = _of()
_TEXT = _of(text_units.TEXT_FAMILY)

MEASUREMENTS: dict[str, Measurement] = {
    entry.kind: entry
    for entry in (
        _whole("weights", weight_units.weights, lambda tokens, _: tokens, _NO_PROMPT, quick=False),
        _whole("composition", weight_units.composition, lambda tokens, _: tokens / 10, _NO_PROMPT, quick=False),
        Measurement("scores", units.scores, lambda tokens, _: 2 * tokens, lambda p: p.family in units.SCORED),
        Measurement("direct_logit", text_units.direct_logit, lambda tokens, _: 2 * tokens, text_units.has_answer),
        _whole(
            "named_parts",
            null_units.named_parts,
            lambda tokens, _: tokens,
            _of(*(score.family for score in NAMED_PARTS.values())),
            lacks=_needs("ioi"),
        ),
        _whole("nulls", null_units.nulls, lambda tokens, _: 2 * tokens, _of(*NULL_FAMILIES.values()), lacks=_no_null),
        _whole(
            "syntax",
            null_units.syntax,
            lambda tokens, _: tokens / 10,
            _of(null_units.SYNTAX_FAMILY),
            lacks=_needs(null_units.SYNTAX_FAMILY),
        ),
        _whole(
            "write_norm",
            model_units.write_norms,
            lambda tokens, _: tokens / 10,
            _TEXT,
            lacks=_needs(text_units.TEXT_FAMILY),
        ),
        _whole(
            "superposition",
            model_units.superposition,
            lambda tokens, _: tokens / 5,
            _TEXT,
            quick=False,
            lacks=_needs(text_units.TEXT_FAMILY),
        ),
        _whole(
            "neurons",
            model_units.neurons,
            lambda tokens, _: 2 * tokens,
            model_units.has_neurons,
            quick=False,
            numbered=("top_prompts",),
            lacks=_no_neurons,
        ),
        *(_effects(mode) for mode in units.EFFECT_MODES),
        _exemplars("exemplars_text", text=True),
        _exemplars("exemplars_families", text=False),
    )
}

REFERENCE = _whole("reference", units.reference, lambda tokens, _: tokens, _NO_PROMPT)
"""Done first, on the reference prompts, wherever there are any."""


def run_of(kind: str) -> Run:
    """What does a unit of a kind."""
    return (REFERENCE if kind == REFERENCE.kind else MEASUREMENTS[kind]).run
