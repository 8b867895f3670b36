"""What an atlas says of itself: where it comes from, what is left out, what was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.views.choices import label_of
from head_atlas.views.numbers import percent, plain

if TYPE_CHECKING:
    from head_atlas.store import Atlas


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in sorted(value.items()))
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, Sequence) and value and all(item is None for item in value)):
        return "none"
    if isinstance(value, float):
        return f"{value:.2g}"
    if isinstance(value, Sequence):
        return ", ".join(_text(item) for item in value)
    return str(value)


def check_rows(checks: Sequence[Mapping[str, Any]]) -> list[dict]:
    """One row per identity check: its name, what was found, and what is allowed."""
    rows = []
    for check in checks:
        word = "passed" if check.get("passed") else "FAILED"
        found = f"{word}: found {_text(check.get('value'))}, allowed {_text(check.get('tolerance'))}"
        rows.append({"label": str(check.get("name", "check")), "text": found})
    return rows


def about_props(atlas: Atlas) -> dict:
    """Provenance, families with the clean model's performance, families left out, checks."""
    counts: dict[str, int] = {}
    for record in atlas.prompts:
        counts[record.family] = counts.get(record.family, 0) + 1
    clean = atlas.summary["clean_correct"].values if "clean_correct" in atlas.summary else None
    lost = atlas.summary["clean_logprob"].values if "clean_logprob" in atlas.summary else None
    families = []
    for i, family in enumerate(atlas.families):
        parts = [f"{counts.get(family, 0)} prompts"]
        if clean is not None and np.isnan(clean[i]):
            parts.append("no right answer: scores only")
        elif clean is not None:
            parts.append(f"top token right {percent(float(clean[i]))}")
        if lost is not None and np.isfinite(lost[i]):
            parts.append(f"mean log-probability {plain(float(lost[i]))} nats")
        families.append({"label": label_of(family), "text": " · ".join(parts)})
    left_out = [{"label": label_of(name), "text": str(reason)} for name, reason in atlas.left_out.items()]
    provenance = [{"label": key.replace("_", " "), "text": _text(value)} for key, value in atlas.provenance.items()]
    provenance = [row for row in provenance if row["text"]]
    sections = [
        {
            "kind": "facts",
            "title": "Prompt families, and how well the unablated model does on them",
            "rows": families,
        },
        {
            "kind": "facts",
            "title": "Left out",
            "rows": left_out or [{"label": "nothing", "text": "every family could be built for this tokenizer"}],
        },
        {
            "kind": "facts",
            "title": "Checks the model passed before it was measured",
            "rows": check_rows(atlas.checks) or [{"label": "none", "text": "this file records no checks"}],
        },
        {"kind": "facts", "title": "Provenance", "rows": provenance},
    ]
    return {
        "title": atlas.model_id or "this atlas",
        "subtitle": f"{atlas.n_layers} layers × {atlas.n_heads} heads · {len(atlas.prompts)} prompts"
        f" · {atlas.path.name}",
        "sections": sections,
    }
