"""What an atlas says of itself: where it comes from, what is left out, what was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.views.choices import label_of
from head_atlas.views.numbers import percent, plain
from head_atlas.views.saved import source_of

if TYPE_CHECKING:
    from head_atlas.store import Atlas
    from head_atlas.store.hub import PublishedAtlas

_LABELS = {
    "model_id": "Model",
    "model_revision": "Model revision",
    "model_class": "Architecture",
    "model_fingerprint": "Fingerprint of the weights",
    "tokenizer_sha256": "Tokenizer (SHA-256)",
    "d_model": "Width of the residual stream",
    "d_head": "Width of a head",
    "d_vocab": "Tokens in the vocabulary",
    "n_kv_heads": "Key and value heads per layer",
    "windows": "Attention window per layer, in tokens",
    "bos_policy": "Before every prompt stands",
    "dtype": "Precision",
    "device": "Device",
    "threads": "Threads",
    "seed": "Seed",
    "n_prompts": "Prompts per family, at most",
    "modes": "Ablation modes",
    "budget": "Most work in one batch",
    "corpus_sha256": "Prompts (SHA-256)",
    "reference_sha256": "Reference means (SHA-256)",
    "config_sha256": "Settings of the build (SHA-256)",
    "code_sha256": "Code of the build (SHA-256)",
    "git_commit": "Commit of the code",
    "packages": "Packages",
}
"""Provenance in words, in the order shown. What a newer build adds follows, under its own name."""

_BOS = {"bos": "the tokenizer’s BOS token", "eos": "its EOS token, as it has no BOS", "none": "nothing"}


def provenance_rows(provenance: Mapping[str, Any]) -> list[dict]:
    """One labelled row per fact that is not empty."""
    rows = []
    for key in [*(key for key in _LABELS if key in provenance), *(key for key in provenance if key not in _LABELS)]:
        value = provenance[key]
        text = _BOS.get(value, _text(value)) if key == "bos_policy" and isinstance(value, str) else _text(value)
        if key == "windows" and text == "none":
            text = "none: every layer sees the whole prompt"
        if text:
            rows.append({"label": _LABELS.get(key, key[:1].upper() + key[1:].replace("_", " ")), "text": text})
    return rows


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


def source_rows(source: PublishedAtlas | None) -> list[dict]:
    """Where on the hub the file came from; nothing for a file of this machine."""
    if source is None:
        return []
    return [
        {"label": "Published at", "text": str(source.address)},
        {"label": "Always this version", "text": str(source.pinned_address)},
        {"label": "This file (SHA-256)", "text": source.sha256},
    ]


def check_rows(checks: Sequence[Mapping[str, Any]]) -> list[dict]:
    """One row per identity check: its name, what was found, and what is allowed."""
    rows = []
    for check in checks:
        word = "passed" if check.get("passed") else "FAILED"
        found = f"{word}: found {_text(check.get('value'))}, allowed {_text(check.get('tolerance'))}"
        rows.append({"label": str(check.get("name", "check")), "text": found})
    return rows


def about_props(atlas: Atlas) -> dict:
    """Provenance, families with the clean model's performance, families left out, notes, checks."""
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
            parts.append(f"right {percent(float(clean[i]))}")
        if lost is not None and np.isfinite(lost[i]):
            parts.append(f"mean log-probability {plain(float(lost[i]))} nats")
        families.append({"label": label_of(family), "text": " · ".join(parts)})
    left_out = [{"label": label_of(name), "text": str(reason)} for name, reason in atlas.left_out.items()]
    notes = [{"label": label_of(name), "text": text} for name, text in atlas.notes.items()]
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
        *([{"kind": "facts", "title": "Notes", "rows": notes}] if notes else []),
        {
            "kind": "facts",
            "title": "Checks the model passed before it was measured",
            "rows": check_rows(atlas.checks) or [{"label": "none", "text": "this file records no checks"}],
        },
        {"kind": "facts", "title": "Provenance", "rows": source_rows(atlas.source) + provenance_rows(atlas.provenance)},
    ]
    return {
        "title": atlas.model_id or "this atlas",
        "subtitle": f"{atlas.n_layers} layers × {atlas.n_heads} heads · {len(atlas.prompts)} prompts"
        f" · {atlas.path.name}",
        "about": source_of(atlas),
        "sections": sections,
    }
