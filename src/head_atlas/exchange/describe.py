"""What an atlas holds, in a few numbers and words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from head_atlas.heads import HeadId
from head_atlas.store import Atlas
from head_atlas.store.schema import LAYOUTS

_SHOWN = ("model_revision", "model_fingerprint", "dtype", "device", "seed", "corpus_sha256", "config_sha256")
_NOT_LISTED = ("summary", "exemplars")


def describe(atlas: Atlas) -> dict[str, Any]:
    """Plain values that JSON can hold.

    Raises:
        AtlasError: a part of the file is damaged.
    """
    prompts = Counter(prompt.family for prompt in atlas.prompts)
    tokens = Counter(dict.fromkeys(prompts, 0))
    for prompt in atlas.prompts:
        tokens[prompt.family] += len(prompt)
    return {
        "path": str(atlas.path),
        "bytes": atlas.path.stat().st_size,
        "version": atlas.version,
        "model_id": atlas.model_id,
        "n_layers": atlas.n_layers,
        "n_heads": atlas.n_heads,
        "modes": atlas.modes,
        "families": [{"name": f, "prompts": prompts[f], "tokens": tokens[f]} for f in atlas.families],
        "groups": {name: atlas.names(name) for name in LAYOUTS if name not in _NOT_LISTED and atlas.names(name)},
        "exemplars": list(atlas.exemplars),
        "roles": roles_held(atlas),
        "left_out": atlas.left_out,
        "notes": atlas.notes,
        "checks_passed": sum(bool(check.get("passed")) for check in atlas.checks),
        "checks": len(atlas.checks),
        "provenance": {key: atlas.provenance[key] for key in _SHOWN if key in atlas.provenance},
    }


def roles_held(atlas: Atlas) -> dict[str, list[str]]:
    """By role, the heads that hold it, as "L0H4"."""
    if "held" not in atlas.roles:
        return {}
    held = atlas.roles["held"]
    return {
        str(role): [HeadId(int(layer), int(head)).label for layer, head in np.argwhere(found == 1)]
        for role, found in zip(held.coords.get("role", ()), held.values, strict=False)
        if (found == 1).any()
    }


def in_words(found: dict[str, Any]) -> str:
    """The same as lines of text."""
    n_prompts = sum(family["prompts"] for family in found["families"])
    lines = [
        f"{found['path']}: atlas {found['version']}, {found['bytes'] / 1e6:.1f} MB",
        f"model    {found['model_id'] or '(not named)'}: {found['n_layers']} layers x {found['n_heads']} heads",
        f"modes    {', '.join(found['modes']) or 'none'}",
        f"prompts  {n_prompts} in {len(found['families'])} families",
    ]
    lines += [f"  {f['name']}: {f['prompts']} prompts, {f['tokens']} tokens" for f in found["families"]]
    lines += [f"{group}: {', '.join(names)}" for group, names in found["groups"].items()]
    lines += [f"exemplars: {', '.join(found['exemplars'])}"] if found["exemplars"] else []
    lines += [f"role {role}: {', '.join(heads)}" for role, heads in found["roles"].items()]
    lines += [f"left out: {name}: {why}" for name, why in found["left_out"].items()]
    lines += [f"note: {name}: {text}" for name, text in found["notes"].items()]
    lines.append(f"checks   {found['checks_passed']} of {found['checks']} passed")
    lines += [f"{key}: {value}" for key, value in found["provenance"].items()]
    return "\n".join(lines)
