"""Which published heads of a model does its atlas show again? Works offline on any atlas of that model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.table import print_row, print_title
from head_atlas.catalogue.published import ALIASES, canonical_model, published_heads, published_models
from head_atlas.errors import HeadAtlasError
from head_atlas.exchange.carried import seed_of
from head_atlas.measures.evidence import Measured, by_family, from_summary
from head_atlas.measures.published import STANDS_OUT, Standing, standings
from head_atlas.store import Atlas, open_atlas

FAMILIES = ("rand_repeat", "rand_flat", "natural", "ioi", "greater_than", "successor")
"""What a build for this table needs."""

_COLUMNS = {
    "head": "head",
    "claim": "published as",
    "number": "number",
    "value": "value|.3f",
    "interval": "95 % interval",
    "rank": "rank",
    "percentile": "percentile|.1f",
    "stands_out": f"percentile >= {STANDS_OUT:.0f}",
    "checked": "entry",
    "source": "source",
}


def published_table(*, model: str, atlas: Path | None, mode: str, build: bool) -> int:
    """Print a row for every published head and number; return 2 where that cannot be done.

    Args:
        model: by any of its names.
        atlas: file; with `build` it is made, or left as it is if it is already this atlas.
        mode: of ablation.
        build: whether to build it first.
    """
    try:
        known = canonical_model(model)
        if not known:
            names = "; ".join(", ".join(ALIASES[name]) for name in published_models())
            raise HeadAtlasError(f"nothing published is written down of {model[:60]!r}; there is of {names}")
        if build:
            atlas = _built(model, atlas or Path(f"{known}.h5"), mode)
        if atlas is None:
            raise HeadAtlasError(f"give the atlas of {known} with --atlas FILE, or make one with --build")
        with open_atlas(atlas) as opened:
            _print(known, opened, mode)
    except (HeadAtlasError, OSError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2
    return 0


def measured_in(atlas: Atlas, mode: str) -> dict[tuple[str, str], Measured]:
    """Every number of an atlas that published heads are looked up in."""
    found = from_summary(atlas.summary, mode)
    by_head = {name: array for name, array in atlas.weights.items() if array.dims == ("layer", "head")}
    found |= {(name, ""): Measured.exact(array.values) for name, array in by_head.items()}
    if "heads" in atlas.direct_logit:
        families, templates = ([getattr(p, part) for p in atlas.prompts] for part in ("family", "template"))
        values = np.asarray(atlas.direct_logit["heads"].values, dtype=np.float64)
        found |= by_family("direct_logit", values, families, templates, seed=seed_of(atlas.provenance))
    return found


def _print(known: str, atlas: Atlas, mode: str) -> None:
    if mode not in atlas.modes:
        raise HeadAtlasError(f"{atlas.path} has no effects of mode {mode!r}; there are {', '.join(atlas.modes)}")
    rows = standings(published_heads(known), measured_in(atlas, mode), atlas.n_layers, atlas.n_heads)
    print(f"Published heads of {known} in {atlas.path.name}, effects of mode {mode}.")
    if canonical_model(atlas.model_id) != known:
        print(f"The atlas calls its model {atlas.model_id!r}: that it is {known} is your word.")
    print()
    print_title(_COLUMNS)
    for row in rows:
        print_row(_COLUMNS, _cells(row))
    shown = [row.stands_out for row in rows if row.stands_out is not None]
    missing = sorted({" on ".join(filter(None, row.shows.key)) for row in rows if row.shows and not row.rank})
    print(f"\n{sum(shown)} of {len(shown)} numbers put their head above {STANDS_OUT:.0f} % of the other heads.")
    if missing:
        print(f"Not in this atlas: {', '.join(missing)}.")


def _cells(row: Standing) -> Mapping[str, object]:
    entry = row.entry
    claim = f"{entry.claim} ({entry.note.rstrip('.')})" if entry.note else entry.claim
    common = {"head": entry.head.label, "claim": claim, "checked": entry.confidence, "source": entry.source}
    if row.shows is None:
        return common | {"number": "none can show it"}
    direction = "high" if row.shows.sign > 0 else "low"
    common["number"] = f"{' on '.join(filter(None, row.shows.key))}, {direction}"
    if row.stands_out is None:
        return common | {"stands_out": "not measured"}
    return common | {
        "value": row.value,
        "interval": "" if row.low == row.high else f"{row.low:.3f} to {row.high:.3f}",
        "rank": f"{row.rank} of {row.n_heads}",
        "percentile": row.percentile,
        "stands_out": "yes" if row.stands_out else "no",
    }


def _built(model: str, path: Path, mode: str) -> Path:
    """Build what the table needs; finished work is not done again."""
    from head_atlas.build import BuildOptions, build_atlas
    from head_atlas.models import load_model

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    options = BuildOptions(families=list(FAMILIES), modes=(mode,))
    return build_atlas(load_model(model, progress=say), path, options, say)
