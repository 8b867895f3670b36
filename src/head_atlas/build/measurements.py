"""Everything that a build can measure, in the order it runs: a new measure is one entry here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from head_atlas.build import model_units, null_units, text_units, units, weight_units
from head_atlas.build.measurement import Corpus, Measurement, Run
from head_atlas.measures.nulls import NULL_FAMILIES

N_DRAWS = 5
"""Prompts whose activations resample ablation puts in place."""


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
        lacks=_LACKS.get(mode, lambda _: ""),
    )


def _exemplars(kind: str, *, text: bool) -> Measurement:
    """Exemplars on running text, or on all other families; the two are kept apart."""
    run = partial(text_units.exemplars, text)
    return Measurement(
        kind, run, lambda tokens, _: 3 * tokens, lacks=_needs(text_units.TEXT_FAMILY) if text else _no_family
    )


MEASUREMENTS: dict[str, Measurement] = {
    entry.kind: entry
    for entry in (
        Measurement("weights", weight_units.weights, lambda tokens, _: tokens, quick=False),
        Measurement("composition", weight_units.composition, lambda tokens, _: tokens / 10, quick=False),
        Measurement("scores", units.scores, lambda tokens, _: 2 * tokens, lambda p: p.family in units.SCORED),
        Measurement("direct_logit", text_units.direct_logit, lambda tokens, _: 2 * tokens, text_units.has_answer),
        Measurement("named_parts", null_units.named_parts, lambda tokens, _: tokens, lacks=_needs("ioi")),
        Measurement("nulls", null_units.nulls, lambda tokens, _: 2 * tokens, lacks=_no_null),
        Measurement("syntax", null_units.syntax, lambda tokens, _: tokens / 10, lacks=_needs(null_units.SYNTAX_FAMILY)),
        Measurement(
            "write_norm", model_units.write_norms, lambda tokens, _: tokens / 10, lacks=_needs(text_units.TEXT_FAMILY)
        ),
        Measurement(
            "superposition",
            model_units.superposition,
            lambda tokens, _: tokens / 5,
            quick=False,
            lacks=_needs(text_units.TEXT_FAMILY),
        ),
        Measurement("neurons", model_units.neurons, lambda tokens, _: 2 * tokens, quick=False),
        *(_effects(mode) for mode in units.EFFECT_MODES),
        # after the effects: harmed prompts are chosen by them
        _exemplars("exemplars_text", text=True),
        _exemplars("exemplars_families", text=False),
    )
}

REFERENCE = Measurement("reference", units.reference, lambda tokens, _: tokens)
"""Done first, on the reference prompts, wherever there are any."""


def run_of(kind: str) -> Run:
    """What does a unit of a kind."""
    return (REFERENCE if kind == REFERENCE.kind else MEASUREMENTS[kind]).run
