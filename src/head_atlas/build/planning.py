"""From a model and what is asked for to the plan of a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from head_atlas.build.measurement import Corpus
from head_atlas.build.measurements import MEASUREMENTS, N_DRAWS
from head_atlas.build.plan import Plan, make_plan
from head_atlas.build.provenance import code_sha256, git_commit, model_facts, packages, public_model_id
from head_atlas.build.role_evidence import role_mode
from head_atlas.build.units import EFFECT_MODES
from head_atlas.errors import BuildError
from head_atlas.interventions import Budget, budget_for
from head_atlas.measures.patterns import visible_windows
from head_atlas.models import HeadModel
from head_atlas.prompts.families import Families, build_families
from head_atlas.prompts.families.natural import NATURAL_LENGTH, natural_source
from head_atlas.prompts.running_text import RunningText
from head_atlas.seeds import checked_seed

N_REFERENCE_PROMPTS = 100
_OTHER_SEED = 7919
"""Added to the seed for the natural prompts that are not measured."""


@dataclass(frozen=True)
class BuildOptions:
    """What to build.

    Attributes:
        families: names; None for all that the tokenizer allows.
        n_prompts: per family.
        modes: of ablation.
        measures: kinds of `measurements.MEASUREMENTS` besides the modes; None for all.
        natural_length: tokens of a natural prompt.
        seed: of prompts and bootstrap.
        corpus: the user's own text for the natural family, or None.
        threads: CPU threads; None for torch's own choice.
        budget: how much of a sweep runs at once; None for what suits the model's device. It decides the last
            bits of effects, so another device needs the same one to give the same file.
    """

    families: Sequence[str] | None = None
    n_prompts: int = 100
    modes: Sequence[str] = EFFECT_MODES
    measures: Sequence[str] | None = None
    natural_length: int = NATURAL_LENGTH
    seed: int = 0
    corpus: RunningText | None = None
    threads: int | None = None
    budget: Budget | None = None


QUICK = BuildOptions(
    n_prompts=8,
    modes=("zero",),
    natural_length=48,
    measures=[kind for kind, measurement in MEASUREMENTS.items() if measurement.quick and not measurement.mode],
)
"""Enough for a first look: a GPT-2-small-sized model in about ten minutes on two cores."""


def plan_atlas(model: HeadModel, options: BuildOptions) -> Plan:
    """Decide everything that a build will do.

    Raises:
        PromptError: an unknown family.
        CorpusError: the user's own text cannot be read.
        BuildError: an unknown mode or measure, or no family can be built for this tokenizer.
        HeadAtlasError: a seed that is none.
    """
    kinds, seed = _kinds(options), checked_seed(options.seed)
    corpus = _corpus(model, options)
    source = natural_source(model.policy, options.corpus)
    longest = max(len(p) for prompts in corpus.families.values() for p in prompts)
    config = {
        **model_facts(model),
        "packages": packages(),
        "code_sha256": code_sha256(),
        "threads": options.threads or torch.get_num_threads(),
        "budget": asdict(options.budget or budget_for(model)),
        "seed": seed,
        "n_prompts": options.n_prompts,
        "windows": visible_windows(model, longest),
        "natural_source": source,
        "reference_source": f"natural family: {len(corpus.reference)} prompts, {source}, seed {options.seed}",
        "resample_source": f"{len(corpus.resample)} natural prompts that are not measured, {source}",
    }
    return make_plan(corpus, kinds=kinds, n_layers=model.n_layers, n_heads=model.n_heads, config=config)


def _kinds(options: BuildOptions) -> list[str]:
    """The measurements that are asked for.

    Raises:
        BuildError: an unknown one.
    """
    for name, asked, known in (
        ("mode", options.modes, EFFECT_MODES),
        ("measure", options.measures or (), [kind for kind in MEASUREMENTS if kind not in EFFECT_MODES]),
    ):
        unknown = [kind for kind in asked if kind not in known]
        if unknown:
            raise BuildError(f"{name} must be one of {', '.join(known)}, found {unknown[0]!r}")
    wanted = options.modes if options.measures is None else (*options.modes, *options.measures)
    return [kind for kind in MEASUREMENTS if kind in wanted or (options.measures is None and kind not in EFFECT_MODES)]


def _corpus(model: HeadModel, options: BuildOptions) -> Corpus:
    """Every prompt of a build.

    Raises:
        PromptError: an unknown family.
        CorpusError: the user's own text cannot be read.
        BuildError: no family can be built for this tokenizer.
    """

    def build(
        n_prompts: int, only: Sequence[str] | None, seed: int, natural_length: int, *, reserved: bool = False
    ) -> Families:
        return build_families(
            model.policy,
            n_prompts=n_prompts,
            seed=seed,
            only=only,
            corpus=options.corpus,
            natural_length=natural_length,
            max_length=model.max_length,
            reserved=reserved,
        )

    families = build(options.n_prompts, options.families, options.seed, options.natural_length)
    if not families.prompts:
        reasons = "; ".join(f"{name}: {why}" for name, why in families.left_out.items())
        raise BuildError(f"no prompt family can be built for this tokenizer: {reasons}")
    measured = {p.tokens for prompts in families.prompts.values() for p in prompts}
    longest = max(map(len, measured))
    n_means = max(options.n_prompts, N_REFERENCE_PROMPTS)
    means = build(n_means, ["natural"], options.seed, options.natural_length).prompts.get("natural", [])
    # some paragraphs are kept back for this; another seed gives other stories; of a corpus, the same may come again
    n_others, seed = n_means + N_DRAWS, options.seed + _OTHER_SEED
    others = build(n_others, ["natural"], seed, longest, reserved=True).prompts.get("natural", [])
    fresh = [p for p in others if len(p) == longest and not any(p.tokens[: len(m)] == m for m in measured)]
    return Corpus(families.prompts, means, fresh[:N_DRAWS], families.left_out, families.notes)


_NOT_PROVENANCE = ("units", "reference_source", "resample_source", "left_out", "notes")
"""Parts of the configuration that the file says elsewhere."""


def provenance_of(plan: Plan, model: HeadModel) -> dict[str, Any]:
    """What the file says about where its numbers come from."""
    kept = {key: value for key, value in plan.config.items() if key not in _NOT_PROVENANCE}
    kept["corpus_sha256"] = kept.pop("prompts_sha256")
    return {
        **kept,
        "model_id": public_model_id(model.model_id),
        "config_sha256": plan.config_sha256,
        "role_mode": role_mode(plan.modes),
        "git_commit": git_commit(),
    }
