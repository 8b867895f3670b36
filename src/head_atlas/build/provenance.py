"""Where numbers come from: everything that could change them, and what a reader needs to trust them."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from head_atlas.models import HeadModel

_PACKAGES = ("head-atlas", "torch", "transformers", "tokenizers", "numpy", "h5py")
_PACKAGE = Path(__file__).parents[1]
_MEASURING = ("build", "interventions", "measures", "models", "prompts", "store", "catalogue")


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
    """Hash of the code that measures and writes: after a change of it, old shards are not mixed with new ones."""
    total = hashlib.sha256()
    for part in _MEASURING:
        place = _PACKAGE / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            total.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def git_commit() -> str:
    """Commit of the source tree that runs, "-dirty" with uncommitted changes; "" outside of our repository.

    A package that is installed somewhere inside of another project's repository has none: the commit would be
    that project's.
    """
    top = _git("rev-parse", "--show-toplevel")
    if not top or (Path(top) / "src" / "head_atlas").resolve() != _PACKAGE.resolve():
        return ""
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str:
    """What git answers inside of the package, or ""."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=_PACKAGE, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def public_model_id(model_id: str) -> str:
    """A model's name without names of users or machines.

    A name on the hub stays as it is. A folder under the current one is its relative path ("atlas/demo/model");
    any other folder is its own name alone.
    """
    folder = Path(model_id).expanduser()
    if not model_id or not (folder.is_absolute() or folder.is_dir()):
        return model_id
    folder, here = folder.resolve(), Path.cwd().resolve()
    inside = folder.is_relative_to(here) and folder != here
    return folder.relative_to(here).as_posix() if inside else folder.name


def weights_sha256(model: Any) -> str:
    """Hash of a model's tensors by name, for one that was made in memory and has no files."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of a fast tokenizer's whole definition."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def model_facts(model: HeadModel) -> dict[str, Any]:
    """What identifies a model and the way it was run. Its name is not among it: the same weights may have several."""
    return {
        "model_revision": model.revision,
        "model_fingerprint": model.fingerprint or weights_sha256(model.model),
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
