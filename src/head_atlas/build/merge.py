"""From the shards of a finished build to the contents of an atlas, in the order of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from head_atlas.build.plan import Plan
from head_atlas.build.shards import read_shard, sha256_of, shard_path
from head_atlas.build.summaries import summarise
from head_atlas.measures.scores import OFFSET_BINS
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.store import AtlasContents, MeanZ
from head_atlas.store.schema import LAYOUTS


def merge(plan: Plan, folder: Path, model: HeadModel, provenance: Mapping[str, Any]) -> AtlasContents:
    """Read every shard and put the atlas together.

    Raises:
        BuildError: a shard is missing or damaged.
    """
    n_prompts = len(plan.prompts)
    heads = (model.n_layers, model.n_heads)
    scores: dict[str, np.ndarray] = {}
    baselines: dict[str, np.ndarray] = {}
    effects: dict[str, np.ndarray] = {}
    clean: dict[str, np.ndarray] = {}
    profiles: list[np.ndarray] = []
    mean_z: MeanZ | None = None
    shards: dict[str, str] = {}

    def place(into: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in into:
            into[name] = np.full(shape, np.nan, dtype=np.float32)
        return into[name]

    for unit in plan.units:
        path = shard_path(folder, plan.config_sha256, unit.name)
        arrays = read_shard(path, config_sha256=plan.config_sha256, unit=unit.name)
        shards[unit.name] = sha256_of(path)
        rows = slice(unit.start, unit.stop)
        if unit.kind == "reference":
            mean_z = MeanZ(arrays["z"], plan.config["reference_source"], int(arrays["n_tokens"][0]))
            continue
        for full_name, values in arrays.items():
            part, _, name = full_name.partition(".")
            if part == "score":
                place(scores, name, (*heads, n_prompts))[..., rows] = values
            elif part == "baseline":
                place(baselines, name, (model.n_layers, n_prompts))[..., rows] = values
            elif part == "effect":
                mode = plan.modes.index(unit.kind)
                place(effects, name, (len(plan.modes), *heads, n_prompts))[mode, ..., rows] = values
            elif part == "clean":
                place(clean, name, (n_prompts,))[rows] = values  # the same in every mode
            else:
                profiles.append(values)
    used = {t for p in plan.prompts for t in (*p.tokens, *p.targets, *p.contrasts, *p.corrupted)}
    summary = summarise(
        plan.prompts, plan.families, plan.modes, scores, baselines, effects, clean, seed=plan.config["seed"]
    )
    arrays = {f"summary/{name}": array for name, array in summary.items()}
    for group, found in (("scores", scores), ("baselines", baselines), ("effects", effects), ("clean", clean)):
        dims = LAYOUTS[group].dims
        assert dims is not None
        arrays |= {f"{group}/{name}": NamedArray(values, dims) for name, values in found.items()}
    if profiles:
        arrays["offsets"] = NamedArray(_mean_profile(profiles), ("layer", "head", "bin"), {"bin": OFFSET_BINS})
    return AtlasContents(
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        families=plan.families,
        modes=plan.modes,
        prompts=plan.prompts,
        token_strings={i: model.strings([i])[0] for i in sorted(used)},
        arrays=arrays,
        mean_z=mean_z,
        provenance=provenance,
        left_out=plan.left_out,
        checks=[
            {key: getattr(check, key) for key in ("name", "meaning", "value", "tolerance", "passed")}
            for check in model.checks
        ],
        shards=shards,
    )


def _mean_profile(profiles: list[np.ndarray]) -> np.ndarray:
    """Mean over prompts of [layer, head, bin, prompt]; NaN where no prompt is that long."""
    values = np.concatenate(profiles, axis=-1).astype(np.float64)
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.where(defined, values, 0.0).sum(-1) / defined.sum(-1)
    return mean
