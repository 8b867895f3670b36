"""What an atlas says of itself: where it comes from, what is left out, what was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.views.choices import label_of
from head_atlas.views.citing import atlas_bibtex, software_bibtex
from head_atlas.views.numbers import count, percent, plain
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
    "natural_source": "Running text",
    "reference_source": "Text of the reference means",
    "resample_source": "Prompts of the resample reference",
    "resample_sha256": "Prompts of the resample reference (SHA-256)",
    "role_mode": "Mode that decides what a head matters for",
    "merged": "Merged of",
    "extracted": "Cut from",
    "imported": "Imported",
}
"""Provenance in words, in the order shown. What a newer build adds follows, under its own name."""

_BOS = {"bos": "the tokenizer’s BOS token", "eos": "its EOS token, as it has no BOS", "none": "nothing"}


def provenance_rows(provenance: Mapping[str, Any]) -> list[dict]:
    """One labelled row per fact that is not empty."""
    rows = []
    for key in [*(key for key in _LABELS if key in provenance), *(key for key in provenance if key not in _LABELS)]:
        value = provenance[key]
        if parts := _parts(key, value):
            rows += parts
            continue
        text = _BOS.get(value, _text(value)) if key == "bos_policy" and isinstance(value, str) else _text(value)
        if key == "windows" and text == "none":
            text = "none: every layer sees the whole prompt"
        if text:
            rows.append({"label": _LABELS.get(key, key[:1].upper() + key[1:].replace("_", " ")), "text": text})
    return rows


def _parts(key: str, value: Any) -> list[dict]:
    """One row per fact of an import, and one per atlas that was merged or cut; empty for other values."""
    label = _LABELS.get(key, key)
    if key == "imported" and isinstance(value, Mapping):
        return [{"label": f"{label}: {str(k).replace('_', ' ')}", "text": _text(v)} for k, v in value.items() if v]
    if key in ("merged", "extracted") and isinstance(value, Sequence) and not isinstance(value, str):
        found = [(f"{label}, {i}", _text(one)) for i, one in enumerate(value, start=1)]
        return [{"label": name, "text": text or "nothing that all do not share"} for name, text in found]
    return []


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


_MEANING = {
    "no-op": "No-op: intervening without a change is the plain model",
    "batched": "Batched = single: a batch of prompts gives what single prompts give",
}
"""The checks that the trust panel names first; of the others the file itself says what they mean."""


def trust_rows(atlas: Atlas) -> list[dict]:
    """The two checks that matter most for what is shown, with their numbers."""
    found = {str(check.get("name")): check for check in atlas.checks}
    rows = []
    for name, label in _MEANING.items():
        text = "not recorded in this file" if name not in found else _outcome(found[name])
        exact = name in found and found[name].get("tolerance") == 0
        rows.append({"label": label, "text": f"{text} (bit for bit)" if exact else text})
    return rows


def _outcome(check: Mapping[str, Any]) -> str:
    word = "passed" if check.get("passed") is True else "FAILED"
    return f"{word}: found {_text(check.get('value'))}, allowed {_text(check.get('tolerance'))}"


def check_rows(checks: Sequence[Mapping[str, Any]]) -> list[dict]:
    """One row per identity check: its name, what was found, and what is allowed."""
    return [
        {"label": str(check.get("meaning") or check.get("name", "check")), "text": _outcome(check)} for check in checks
    ]


def about_props(atlas: Atlas) -> dict:
    """Provenance, families with the clean model's performance, families left out, notes, checks."""
    lengths: dict[str, list[int]] = {}
    for record in atlas.prompts:
        lengths.setdefault(record.family, []).append(len(record))
    clean = atlas.summary["clean_correct"].values if "clean_correct" in atlas.summary else None
    lost = atlas.summary["clean_logprob"].values if "clean_logprob" in atlas.summary else None
    families = []
    for i, family in enumerate(atlas.families):
        sizes = lengths.get(family, [])
        parts = [f"{len(sizes)} prompts"]
        if sizes:
            span = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
            parts.append(f"of {span} tokens")
        if clean is not None and np.isnan(clean[i]):
            parts.append("no right answer: scores only")
        elif clean is not None:
            parts.append(f"right {percent(float(clean[i]))}")
        if lost is not None and np.isfinite(lost[i]):
            parts.append(f"mean log-probability {plain(float(lost[i]))} nats")
        families.append({"label": label_of(family), "text": " · ".join(parts)})
    left_out = [{"label": label_of(name), "text": str(reason)} for name, reason in atlas.left_out.items()]
    notes = [{"label": label_of(name), "text": text} for name, text in atlas.notes.items()]
    nothing = "every family could be built for this tokenizer"
    checks = {"kind": "facts", "rows": check_rows(atlas.checks) or [_NO_CHECKS]}
    origin = {"kind": "facts", "rows": source_rows(atlas.source) + provenance_rows(atlas.provenance)}
    sections = [
        {
            "kind": "facts",
            "title": "What was checked",
            "rows": trust_rows(atlas),
            "note": "The third check, live = atlas, is the button above: it measures stored prompts again.",
        },
        {"kind": "fold", "summary": f"All {len(atlas.checks)} checks before measuring", "section": checks},
        {
            "kind": "facts",
            "title": "Corpus: prompt families, and how well the unablated model does on them",
            "rows": [*families, *corpus_rows(atlas)],
        },
        {"kind": "facts", "title": "Left out", "rows": left_out or [{"label": "nothing", "text": nothing}]},
        *([{"kind": "facts", "title": "Notes", "rows": notes}] if notes else []),
        {"kind": "facts", "title": "Licence", "rows": licence_rows(atlas)},
        {"kind": "code", "title": "Cite this atlas", "text": atlas_bibtex(atlas)},
        {"kind": "code", "title": "Cite the software", "text": software_bibtex()},
        {"kind": "fold", "summary": "Provenance", "section": origin},
    ]
    return {
        "title": atlas.model_id or "this atlas",
        "subtitle": f"{atlas.n_layers} layers × {atlas.n_heads} heads · {len(atlas.prompts)} prompts"
        f" · {atlas.path.name}",
        "about": source_of(atlas),
        "sections": sections,
    }


_NO_CHECKS = {"label": "none", "text": "this file records no checks"}
_OWN_CORPUS = "a corpus of the user's"


def corpus_rows(atlas: Atlas) -> list[dict]:
    """All prompts together, and where their text is from."""
    tokens = sum(len(record) for record in atlas.prompts)
    rows = [{"label": "All families", "text": f"{len(atlas.prompts)} prompts · {count(tokens)} tokens"}]
    source = str(atlas.provenance.get("natural_source", ""))
    if source:
        rows.append({"label": "Running text", "text": source})
    return rows


def licence_rows(atlas: Atlas) -> list[dict]:
    """What is known of licences. The file names none: it belongs to whoever measured it."""
    if atlas.source is not None:
        file = f"as its card on the hub says: {atlas.source.address}"
    else:
        file = "not in the file; ask whom you have it from. The demo atlas of this project is under Apache-2.0"
    text = "the templates, and the paragraphs or stories, are this project’s: Apache-2.0"
    if "imported" in atlas.provenance:
        text = "of the data set that was imported; see its own licence"
    elif _OWN_CORPUS in str(atlas.provenance.get("natural_source", "")):
        text = "the templates are this project’s (Apache-2.0); the running text is whoever’s built the atlas"
    return [
        {"label": "This atlas", "text": file},
        {"label": "The text of its prompts", "text": text},
        {"label": "The model", "text": "has a licence of its own, in its model card"},
        {"label": "The software", "text": "Apache-2.0"},
    ]
