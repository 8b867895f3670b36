"""Where numbers come from: everything that could change them, and what a reader needs to trust them."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from head_atlas.models import HeadModel

_PACKAGES = ("head-atlas", "torch", "transformers", "tokenizers", "numpy", "h5py")
_PACKAGE = Path(__file__).parents[1]
_MEASURING = ("build", "interventions", "measures", "models", "prompts", "catalogue.py")


def packages() -> dict[str, str]:
    """Versions of what computes."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def code_sha256() -> str:
    """Hash of the code that measures: after a change of it, old shards are not mixed with new ones."""
    total = hashlib.sha256()
    for part in _MEASURING:
        place = _PACKAGE / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            total.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def git_commit() -> str:
    """Commit of the source tree that runs, "-dirty" with uncommitted changes; "" outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=_PACKAGE, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of a fast tokenizer's whole definition."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def model_facts(model: HeadModel) -> dict[str, Any]:
    """What identifies a model and the way it was run."""
    return {
        "model_id": model.model_id,
        "model_revision": model.revision,
        "model_fingerprint": model.fingerprint,
        "model_class": type(model.model).__name__,
        "n_kv_heads": model.n_kv_heads,
        "d_head": model.d_head,
        "d_model": model.d_model,
        "d_vocab": model.d_vocab,
        "tokenizer_sha256": tokenizer_sha256(model.tokenizer),
        "bos_policy": model.policy.bos_policy,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
    }
