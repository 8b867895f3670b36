"""An atlas file as a repository on the hub: file, checksum and card in one commit, with a tag."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from head_atlas.errors import AtlasError
from head_atlas.store.card import card_of
from head_atlas.store.checksum import sha256_of
from head_atlas.store.fetching import checksum_line
from head_atlas.store.hub import (
    ATLAS,
    CARD,
    CHECKSUM,
    KIND,
    SECONDS,
    HubAddress,
    PublishedAtlas,
    in_short,
    is_commit,
    refusal,
)
from head_atlas.store.inspection import inspect
from head_atlas.store.reader import open_atlas

Say = Callable[[str], None]

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
_log = logging.getLogger(__name__)


def publish(
    path: str | Path, address: str, *, license_id: str, private: bool = False, say: Say = _log.info
) -> PublishedAtlas:
    """Publish an atlas file. Its repository is made if there is none, and keeps its older versions.

    The prompts are in the file: their text becomes public with it.

    Args:
        path: the file.
        address: `hub:owner/name@tag`; the tag is new.
        license_id: of the atlas, as the hub spells licences ("cc-by-4.0", "apache-2.0").
        private: whether a new repository is private.
        say: is told what happens.

    Raises:
        AtlasError: the file is not a valid atlas, no token, no access, no network, the tag is there already, the
            repository holds something else, or it changed meanwhile.
    """
    wanted = _checked_address(address)
    path = Path(path)
    text, sha256 = describe(path, wanted, license_id)
    from huggingface_hub import HfApi, get_token

    if not get_token():
        raise AtlasError("no token: log in to the hub with `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    parent = _prepared(api, wanted, private=private)
    say(f"{wanted}: uploading {path.stat().st_size / 1e6:,.1f} MB, the text of the prompts included")
    commit = _committed(api, wanted, path, {CHECKSUM: checksum_line(sha256), CARD: text}, parent)
    _check_arrived(api, wanted, commit, path.stat().st_size, sha256)
    _tag(api, wanted, commit)
    say(f"{wanted}: published as commit {commit}, sha256 {sha256}")
    return PublishedAtlas(path, wanted, commit, sha256)


def describe(path: str | Path, address: str | HubAddress, license_id: str) -> tuple[str, str]:
    """The card that `publish` would write, and the sha256 of the file, once every number of it was read.

    Raises:
        AtlasError: the file is not a valid atlas, or `license_id` is not spelled as the hub does.
    """
    wanted = address if isinstance(address, HubAddress) else _checked_address(address)
    if not _LICENSE.fullmatch(license_id):
        raise AtlasError(f"{license_id[:80]!r} is not a licence as the hub spells them, such as cc-by-4.0")
    path = Path(path)
    inspect(path, numbers=True)
    with open_atlas(path) as atlas:
        sha256 = sha256_of(path)
        return card_of(atlas, wanted, sha256, license_id, datetime.now(UTC)), sha256


def _checked_address(address: str) -> HubAddress:
    wanted = HubAddress.parse(address)
    if "@" not in address or "/" in wanted.revision or wanted.pinned or wanted.revision in ("main", "HEAD"):
        raise AtlasError(f"{address} names no version: expected hub:owner/name@tag, with a tag such as v1")
    return wanted


def _prepared(api: Any, wanted: HubAddress, *, private: bool) -> str:
    """Make the repository if need be; return the newest commit, which ours is to follow."""
    try:
        api.create_repo(wanted.repo, repo_type=KIND, private=private or None, exist_ok=True)
        tags = {tag.name for tag in api.list_repo_refs(wanted.repo, repo_type=KIND).tags}
        newest = api.dataset_info(wanted.repo, revision="main", timeout=SECONDS)
    except Exception as error:
        raise _failure(error, wanted, "nothing was published") from error
    if wanted.revision in tags:
        raise AtlasError(f"{wanted} is there already: versions do not change, so choose another tag")
    files = {file.rfilename for file in newest.siblings or []}
    if CARD in files and ATLAS not in files:
        raise AtlasError(f"{wanted.repo!r} holds something else, with a {CARD} and no {ATLAS}: choose another name")
    return str(newest.sha)


def _committed(api: Any, wanted: HubAddress, path: Path, texts: dict[str, str], parent: str) -> str:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError

    files = [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
    message = f"Atlas {wanted.revision}"
    try:
        commit = api.create_commit(
            wanted.repo,
            [CommitOperationAdd(ATLAS, str(path)), *files],
            commit_message=message,
            repo_type=KIND,
            parent_commit=parent,
        ).oid
    except Exception as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (409, 412):
            raise AtlasError(f"{wanted.repo!r} changed while this was published: run the command again") from error
        raise _failure(error, wanted, "nothing was published") from error
    if not is_commit(str(commit)):
        raise AtlasError(f"the hub answered {str(commit)[:60]!r} to the commit of {wanted}: expected its hash")
    return str(commit)


def _check_arrived(api: Any, wanted: HubAddress, commit: str, size: int, sha256: str) -> None:
    """Compare what the hub holds with what was hashed, before a tag promises it."""
    try:
        listing = api.dataset_info(wanted.repo, revision=commit, files_metadata=True, timeout=SECONDS)
    except Exception as error:
        raise _failure(error, wanted, f"commit {commit} was made, but not compared and not tagged") from error
    found = next((file for file in listing.siblings or [] if file.rfilename == ATLAS), None)
    # a hub that keeps the file in the commit itself, and not in large storage, states its size alone
    held = (found.size, found.lfs.sha256 if found.lfs else sha256) if found else None
    if held != (size, sha256):
        raise AtlasError(
            f"commit {commit} of {wanted.repo!r} was made, but not tagged: the hub holds {held}, expected "
            f"{(size, sha256)}; the file may have changed while it was uploaded"
        )


def _tag(api: Any, wanted: HubAddress, commit: str) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_tag(wanted.repo, tag=wanted.revision, revision=commit, repo_type=KIND)
    except Exception as error:
        without = f"commit {commit} was made, without a tag: {wanted.at(commit)} opens it"
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 409:
            raise AtlasError(f"{wanted} is there already; {without}") from error
        raise _failure(error, wanted, without) from error


def _failure(error: Exception, wanted: HubAddress, state: str) -> AtlasError:
    """What failed, in words, and how far it had come."""
    why = refusal(error, wanted) or f"the hub cannot be reached, or failed ({in_short(error)})"
    return AtlasError(f"{why}; {state}")
