"""The card of a published atlas: what it is, how it was measured, its limits and its provenance, in markdown.

The names in an atlas may be a stranger's: what is not a plain number goes into code spans.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from head_atlas.store.hub import ATLAS, CHECKSUM, HubAddress
from head_atlas.store.reader import Atlas
from head_atlas.store.schema import LAYOUTS, MANTISSA_BITS

_LISTED = [
    name for name, layout in LAYOUTS.items() if not layout.nested and name not in ("summary", "clean", "baselines")
]
_LONGEST = 300

_TEXT = """\
# Head Atlas of {model}

What every attention head of this model attends to, and what breaks without it: measured prompt by prompt, with
sample sizes and intervals, in one HDF5 file of the format Head Atlas {version}.

## What it holds

{layers} layers x {heads} heads, {n_prompts} prompts, ablation modes {modes}.

| prompt family | prompts | tokens | the clean model's most likely token is right |
| --- | --- | --- | --- |
{families}

{groups}
{left_out}{notes}
## How it was measured

- `effect = ablated - clean`: what changes when a head's output is removed, in the ablation mode named. It is causal.
- A *score* is read from attention patterns or from the weights, an *attribution* is a linear decomposition; neither
  says what would happen without the head.
- Means are over prompts; intervals are 95 % percentile intervals of a paired cluster bootstrap (templates, then
  prompts), and the number of prompts stands beside each. Missing numbers are NaN.
- Scores and effects of single prompts are rounded to {bits} mantissa bits (a relative error of at most 4.9e-4).
- Before it was measured the model passed these checks:

| check | found | allowed | passed |
| --- | --- | --- | --- |
{checks}

## Limits

- The numbers speak of these prompts and families, not of text in general, and of this revision of the weights alone.
- Heads are removed one at a time. Others may take over for a removed head, and effects of several do not add up.
- An ablated model is run outside of what it was trained on, most of all in the mode `zero`.
- A head with no effect here may still matter elsewhere; a high score does not say that the head matters.
- Few prompts, or prompts that all give the same number, are no certainty: read the sample size beside each interval.

## Provenance

| | |
| --- | --- |
{provenance}

## Checksum

SHA-256 `{sha256}`, {size} bytes: `sha256sum -c {checksum}` compares them. This card was written at {created};
the file itself holds no time, so that equal builds are equal bytes.

## Licence

The atlas: `{license}`. It contains the text of its prompts. The model has a licence of its own.

## How to open it

```python
from head_atlas import open_atlas

atlas = open_atlas("{address}")
print(atlas.scores, atlas.effects, atlas.source.commit)
```

It is downloaded once, compared with its checksum and validated; `atlas.source.pinned_address` names this very commit.
In the app: `make app MODEL={address}`. Anything that reads HDF5 or netCDF-4 reads it too:
`xarray.open_dataset("{file}", engine="h5netcdf", group="scores")`.
"""


def card_of(atlas: Atlas, address: HubAddress, sha256: str, license_id: str, created: datetime) -> str:
    """Return the README.md of the repository that holds this atlas.

    Args:
        atlas: open.
        address: where it goes, with its tag.
        sha256: of the file.
        license_id: as the hub spells it.
        created: the time, with its zone.
    """
    prompts = Counter(prompt.family for prompt in atlas.prompts)
    tokens = Counter(dict.fromkeys(prompts, 0))
    for prompt in atlas.prompts:
        tokens[prompt.family] += len(prompt)
    right = atlas.summary["clean_correct"].values if "clean_correct" in atlas.summary else None
    size, time = atlas.path.stat().st_size, created.isoformat(timespec="seconds")
    version = _one_line(atlas.version)
    text = _TEXT.format(
        model=_code(atlas.model_id or "a model without a name"),
        version=_code(version),
        layers=atlas.n_layers,
        heads=atlas.n_heads,
        n_prompts=len(atlas.prompts),
        modes=", ".join(map(_code, atlas.modes)) or "none",
        families=_rows(
            (_code(family), prompts[family], tokens[family], _share(right, i))
            for i, family in enumerate(atlas.families)
        ),
        groups="\n".join(
            f"- {name}: {', '.join(map(_code, atlas.names(name)))}" for name in _LISTED if atlas.names(name)
        ),
        left_out="".join(f"- left out: {_code(name)}: {_code(why)}\n" for name, why in atlas.left_out.items()),
        notes="".join(f"- note: {_code(name)}: {_code(note)}\n" for name, note in atlas.notes.items()),
        bits=MANTISSA_BITS,
        checks=_rows(
            (_code(c.get("name", "")), _number(c.get("value")), _number(c.get("tolerance")), _yes(c.get("passed")))
            for c in atlas.checks
        ),
        provenance=_rows((_code(key), _code(_plain(value))) for key, value in atlas.provenance.items() if value != ""),
        size=size,
        sha256=sha256,
        checksum=CHECKSUM,
        created=time,
        license=license_id,
        address=address,
        file=ATLAS,
    )
    return _front_matter(atlas, version, sha256, size, license_id, time) + "\n" + text


def _front_matter(atlas: Atlas, version: str, sha256: str, size: int, license_id: str, created: str) -> str:
    """The YAML that the hub reads, and the same facts for programs."""
    from huggingface_hub import DatasetCardData

    facts = {"version": version, "sha256": f"sha256:{sha256}", "bytes": size, "created": created}
    facts["model"] = _one_line(atlas.model_id)
    facts |= {
        key: _one_line(atlas.provenance[key])
        for key in ("model_revision", "model_fingerprint")
        if atlas.provenance.get(key)
    }
    data = DatasetCardData(
        license=license_id,
        pretty_name=f"Head Atlas of {_one_line(atlas.model_id) or 'a model'}",
        tags=["head-atlas", "interpretability", "mechanistic-interpretability", "attention-heads"],
        viewer=False,
        head_atlas=facts,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _rows(rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _code(text: Any) -> str:
    """A code span that stays one, in a table too, whatever the text."""
    return f"`{_one_line(text).replace('`', chr(39)).replace('|', '/') or ' '}`"


def _one_line(text: Any) -> str:
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, Mapping | list) else str(value)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else _code(value)


def _yes(value: Any) -> str:
    return "yes" if value is True else "**no**"


def _share(right: np.ndarray | None, family: int) -> str:
    if right is None or not np.isfinite(right[family]):
        return "no right answer, or not measured"
    return f"{right[family]:.0%}"
