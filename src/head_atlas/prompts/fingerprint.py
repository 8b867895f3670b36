"""What tells two sets of prompts apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from head_atlas.prompts.prompt import Prompt


def prompts_sha256(prompts: Sequence[Prompt]) -> str:
    """Hash of everything that is measured about prompts."""
    rows = [
        [
            p.text,
            p.tokens,
            p.positions,
            p.targets,
            p.contrasts,
            p.family,
            p.template,
            p.split,
            p.corrupted,
            sorted((name, list(at)) for name, at in p.annotations.items()),
        ]
        for p in prompts
    ]
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
