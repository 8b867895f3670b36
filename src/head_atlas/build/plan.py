"""What a build will do, decided before any of it is done. Pure: no model runs, no file is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from head_atlas.build.measurement import Corpus, Measurement
from head_atlas.build.measurements import MEASUREMENTS, NO_PROMPTS, REFERENCE
from head_atlas.catalogue import SCORES
from head_atlas.prompts.fingerprint import canonical_json, prompts_sha256
from head_atlas.prompts.prompt import Prompt

PROMPTS_PER_UNIT = 128
HEAD_TOKENS_PER_UNIT = 2**18
"""Heads x tokens of an ablation unit: minutes of work on two cores for a model of the size of GPT-2 small."""


@dataclass(frozen=True)
class Unit:
    """A piece of work that is done as a whole and kept as one shard.

    Attributes:
        kind: of `MEASUREMENTS`, or "reference".
        family: of its prompts; "model" where it is done once for the whole model.
        start: index of the first prompt of its block; for "reference", among the reference prompts.
        stop: index after the last prompt.
        work: expected effort, in tokens run through the whole model.
        index: its prompts, among those of the plan.
        key: hash of everything that its numbers depend on; with it, its shard is found and trusted, in this build
            and in others that measure more.
        needs: names of the units that must be done before.
    """

    kind: str
    family: str
    start: int
    stop: int
    work: float
    index: Sequence[int] = field(default=(), repr=False)
    key: str = ""
    needs: tuple[str, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """Unique in the plan."""
        return f"{self.kind}-{self.family}-{self.start:06d}-{self.stop:06d}"

    @property
    def label(self) -> str:
        """Part of the shard's file name: without numbers of prompts, which differ where families are added."""
        return f"{self.kind}-{self.family}"


@dataclass(frozen=True)
class Plan:
    """A whole build.

    Attributes:
        prompts: every measured prompt, family by family.
        reference_prompts: natural text whose mean activations stand for removed heads in mean mode.
        resample_prompts: natural text whose activations stand for them in resample mode.
        families: in the order of `prompts`.
        modes: of ablation.
        units: in the order they run, which respects what they need.
        config: everything the numbers depend on.
        left_out: by name, why a family or a measure is not in the build.
        notes: by name, what to know of a family that is.
        shared: names of what all units depend on, out of `config`.
    """

    prompts: tuple[Prompt, ...]
    reference_prompts: tuple[Prompt, ...]
    resample_prompts: tuple[Prompt, ...]
    families: tuple[str, ...]
    modes: tuple[str, ...]
    units: tuple[Unit, ...]
    config: Mapping[str, Any]
    left_out: Mapping[str, str]
    notes: Mapping[str, str]
    shared: frozenset[str] = frozenset()

    @property
    def config_sha256(self) -> str:
        """Hash of the configuration: an atlas of another one is another atlas."""
        return _hash(self.config)

    @property
    def facts(self) -> dict[str, Any]:
        """What all units depend on: model, machine and code."""
        return {key: value for key, value in self.config.items() if key in self.shared}


def make_plan(corpus: Corpus, *, kinds: Sequence[str], n_layers: int, n_heads: int, config: Mapping[str, Any]) -> Plan:
    """Cut a build into units.

    Args:
        corpus: every prompt. What cannot be measured on it is left out and named.
        kinds: of measurements that are asked for.
        n_layers: of the model.
        n_heads: per layer.
        config: facts about model, machine and code that the numbers depend on.
    """
    left_out = dict(corpus.left_out)
    prompts = [prompt for members in corpus.families.values() for prompt in members]
    chosen: list[Measurement] = []
    for kind, measurement in MEASUREMENTS.items():
        why = measurement.lacks(corpus) if kind in kinds else "not asked for in this build"
        if not why and not measurement.whole and not any(map(measurement.prompts, prompts)):
            why = NO_PROMPTS
        if why:
            left_out[kind] = why
        else:
            chosen.append(measurement)
    for score in SCORES.values():
        if not any(family in corpus.families for family in score.families):
            left_out[score.name] = f"measured on {' and '.join(score.families)}, not in this atlas"

    n_all_heads = n_layers * n_heads
    modes = tuple(measurement.mode for measurement in chosen if measurement.mode)
    resample = corpus.resample if "resample" in modes else ()
    facts = {key: value for key, value in config.items() if key not in _OF_BUILD}
    units: list[Unit] = []
    if corpus.reference:
        work = REFERENCE.work(sum(map(len, corpus.reference)), n_all_heads)
        unit = Unit(REFERENCE.kind, "natural", 0, len(corpus.reference), work)
        units.append(replace(unit, key=_hash([facts, unit.kind, prompts_sha256(corpus.reference)])))
    for measurement in chosen:
        for unit in _units(measurement, prompts, n_all_heads):
            needs = [other for other in units if other.kind in measurement.needs(modes) and _share(unit, other)]
            found = [
                facts,
                unit.label,
                prompts_sha256([prompts[index] for index in unit.index]),
                prompts_sha256(resample) if measurement.mode == "resample" else "",
                [other.key for other in needs],
            ]
            units.append(replace(unit, key=_hash(found), needs=tuple(other.name for other in needs)))
    full_config = {
        **config,
        "modes": list(modes),
        "prompts_sha256": prompts_sha256(prompts),
        "reference_sha256": prompts_sha256(corpus.reference),
        "resample_sha256": prompts_sha256(resample),
        "units": [unit.name for unit in units],
        "left_out": left_out,
        "notes": dict(corpus.notes),
    }
    return Plan(
        prompts=tuple(prompts),
        reference_prompts=tuple(corpus.reference),
        resample_prompts=tuple(resample),
        families=tuple(corpus.families),
        modes=modes,
        units=tuple(units),
        config=full_config,
        left_out=left_out,
        notes=dict(corpus.notes),
        shared=frozenset(facts),
    )


_OF_BUILD = ("n_prompts", "natural_source", "reference_source", "resample_source")
"""Parts of the configuration that no unit depends on but through its prompts."""


def _share(unit: Unit, other: Unit) -> bool:
    """Whether what one unit needs of another kind is in the other unit."""
    return not other.index or not set(unit.index).isdisjoint(other.index)


def _units(measurement: Measurement, prompts: Sequence[Prompt], n_all_heads: int) -> list[Unit]:
    """The units of one measurement."""
    kind = measurement.kind
    if measurement.whole:
        work = measurement.work(sum(map(len, prompts)), n_all_heads)
        index = tuple(i for i, prompt in enumerate(prompts) if measurement.prompts(prompt))
        return [Unit(kind, "model", 0, len(prompts), work, index)]
    units = []
    for start, stop in _blocks(prompts, n_all_heads):
        tokens = sum(len(prompt) for prompt in prompts[start:stop] if measurement.prompts(prompt))
        if tokens:
            work = measurement.work(tokens, n_all_heads)
            units.append(Unit(kind, prompts[start].family, start, stop, work, range(start, stop)))
    return units


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _blocks(prompts: Sequence[Prompt], n_all_heads: int) -> list[tuple[int, int]]:
    """Cut prompts where the family changes, and where a block would grow too large: (start, stop) of each."""
    blocks, start, tokens = [], 0, 0
    for index, prompt in enumerate(prompts):
        over = (tokens + len(prompt)) * n_all_heads > HEAD_TOKENS_PER_UNIT
        full = over or index - start == PROMPTS_PER_UNIT or prompt.family != prompts[start].family
        if index > start and full:
            blocks.append((start, index))
            start, tokens = index, 0
        tokens += len(prompt)
    return [*blocks, (start, len(prompts))] if prompts else blocks
