"""From a hub id or a folder to a local folder of weights. Only plain files are fetched: no code, no pickles."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from head_atlas.errors import ModelError

Progress = Callable[[str], None]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
# Weights, configuration and tokenizer at the root of a repository; nothing executable, nothing pickled.
_WANTED = (
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model*.safetensors",
    "model.safetensors.index.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class Source:
    """A folder that holds a model.

    Attributes:
        folder: on this machine.
        model_id: as the user gave it.
        revision: commit on the hub; "" for a local folder.
    """

    folder: Path
    model_id: str
    revision: str


def find_source(path_or_hub_id: str | Path, revision: str | None, progress: Progress) -> Source:
    """Return the folder of a model, downloading it from the hub if it is not a folder.

    Raises:
        ModelError: no such folder, no such model on the hub, no access, no network, or no safetensors.
    """
    text = str(path_or_hub_id)
    folder = Path(text).expanduser()
    if text.strip() and folder.is_dir():
        source = Source(folder, text, "")
    elif isinstance(path_or_hub_id, Path) or folder.exists() or _HUB_ID.fullmatch(text) is None:
        raise ModelError(
            f"{text!r} cannot be loaded: there is no such folder, and it is not the name of a model on the "
            "Hugging Face hub"
        )
    else:
        source = _download(text, revision, progress)
    if not (source.folder / "config.json").is_file():
        raise ModelError(f"{text!r} has no config.json: expected a model saved by transformers")
    if not weight_files(source.folder):
        raise ModelError(f"{text!r} has no safetensors weights; other formats can run code and are not loaded")
    return source


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, by name."""
    return sorted(folder.glob("model*.safetensors"))


def fingerprint(folder: Path) -> str:
    """Return the sha256, in hex, of the names and contents of the weight files."""
    total = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _download(repo: str, revision: str | None, progress: Progress) -> Source:
    """Fetch a model from the hub, saying what and how much; fall back to what is cached if that fails."""
    try:
        listing = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=30)
    except Exception as error:  # noqa: BLE001  the transport's errors have no common base
        _refuse(repo, revision, error)
        return _cached(repo, revision, progress, error)
    files = [f for f in listing.siblings or [] if any(fnmatch(f.rfilename, wanted) for wanted in _WANTED)]
    if not any(f.rfilename.endswith(".safetensors") for f in files):
        raise ModelError(f"{repo!r} has no safetensors weights; other formats can run code and are not loaded")
    size = sum(f.size or 0 for f in files) / 1e6
    progress(f"{repo} at {str(listing.sha)[:12]}: {len(files)} files, {size:,.1f} MB, unless they are cached")
    for file in files:
        progress(f"{file.rfilename}: {(file.size or 0) / 1e6:,.1f} MB")
    # By the name it was asked for, not by commit: offline, the cache must find it under that name again.
    try:
        folder = snapshot_download(repo, revision=revision, allow_patterns=list(_WANTED))
    except Exception as error:  # noqa: BLE001  likewise
        _refuse(repo, revision, error)
        return _cached(repo, revision, progress, error)
    return Source(Path(folder), repo, Path(folder).name)  # a snapshot is named after its commit


def _refuse(repo: str, revision: str | None, error: Exception) -> None:
    """Put the hub's refusals into words; other errors pass, as a cached copy may do."""
    if isinstance(error, GatedRepoError):
        reason = f"{repo!r} is gated: accept its terms on the hub and log in with `hf auth login`"
    elif isinstance(error, RevisionNotFoundError):
        reason = f"{repo!r} has no revision {revision!r}"
    elif isinstance(error, RepositoryNotFoundError):
        reason = f"there is no model {repo!r} on the hub (or it is private), and no such folder"
    elif isinstance(error, HFValidationError):
        reason = f"{repo!r} is not the name of a model: {error}"
    else:
        return
    raise ModelError(reason) from error


def _cached(repo: str, revision: str | None, progress: Progress, cause: Exception) -> Source:
    """Return the local copy of a model on the hub.

    Raises:
        ModelError: there is none.
    """
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=list(_WANTED), local_files_only=True))
    except (LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{repo!r} cannot be downloaded ({type(cause).__name__}: {cause}), and no copy is cached; "
            "give a local folder, or try again with a connection to the hub"
        ) from error
    progress(f"{repo}: nothing could be downloaded; using the copy cached at {folder.name[:12]}")
    return Source(folder, repo, folder.name)
