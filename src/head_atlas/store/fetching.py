"""From an address on the hub to a checked file on this machine: at one commit, cached, and usable offline.

The files lie in the cache of `huggingface_hub`. A name (a tag or a branch) is recorded there once the atlas it
means has passed every check, so what an address means offline is always an atlas that passed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from head_atlas.errors import AtlasError
from head_atlas.store.checksum import sha256_of
from head_atlas.store.hub import (
    ATLAS,
    CHECKSUM,
    KIND,
    SECONDS,
    HubAddress,
    PublishedAtlas,
    in_short,
    is_commit,
    refusal,
)
from head_atlas.store.reader import Atlas, open_atlas

Say = Callable[[str], None]

_LONGEST_CHECKSUM = 1024
_CHECKSUM_LINE = re.compile(rf"([0-9a-f]{{64}})  {re.escape(ATLAS)}\n?")
_log = logging.getLogger(__name__)


def open_published(address: str, say: Say = _log.info) -> Atlas:
    """Open an atlas on the hub; its `source` says where it came from.

    Raises:
        AtlasError: as `fetch` says.
    """
    found = fetch(address, say)
    atlas = open_atlas(found.path)
    atlas.source, atlas.called = found, str(found.address)
    return atlas


def fetch(address: str, say: Say = _log.info) -> PublishedAtlas:
    """Download an atlas, unless it is cached, and check it: its sha256, and all that `open_atlas` checks.

    An address that names a commit needs no network once it is cached. Any other is looked up; where the hub cannot be
    reached, it means what it meant last time, and `say` is told. A tag that means another commit than last time is
    refused, as tags are not to move.

    Args:
        address: `hub:owner/name@revision`.
        say: is told what is downloaded, and which commit is used.

    Raises:
        AtlasError: no such address, no access, no network and no copy cached, a moved tag, a wrong checksum, or a
            file that is not a valid atlas.
    """
    wanted = HubAddress.parse(address)
    before = _cached_commit(wanted)
    commit = before if wanted.pinned and before else _look_up(wanted, before, say)
    path, sha256 = _checked_file(wanted, commit, say)
    try:
        open_atlas(path).close()
    except AtlasError as error:
        raise AtlasError(f"{wanted}: {str(error).replace(str(path), ATLAS)}") from error
    if not wanted.pinned and commit != before:
        _record(wanted, say)
    return PublishedAtlas(path, wanted, commit, sha256)


def checksum_line(sha256: str) -> str:
    """The content of the checksum file, as `sha256sum` writes and checks it."""
    return f"{sha256}  {ATLAS}\n"


def _cached_commit(wanted: HubAddress) -> str | None:
    """The commit that an address meant last time, if its files are still here."""
    from huggingface_hub import try_to_load_from_cache

    commits = set()
    for name in (CHECKSUM, ATLAS):
        place = try_to_load_from_cache(wanted.repo, name, repo_type=KIND, revision=wanted.revision)
        commits.add(Path(place).parent.name if isinstance(place, str) else None)
    return commits.pop() if len(commits) == 1 else None


def _look_up(wanted: HubAddress, before: str | None, say: Say) -> str:
    """Ask the hub which commit an address means; offline, the one it meant before."""
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        listing = api.dataset_info(wanted.repo, revision=wanted.revision, files_metadata=True, timeout=SECONDS)
    except Exception as error:
        why = refusal(error, wanted)
        if why:
            raise AtlasError(why) from error
        if before is None:
            raise AtlasError(
                f"{wanted} cannot be downloaded, and no copy is cached: the hub cannot be reached ({in_short(error)})"
            ) from error
        say(f"{wanted}: the hub cannot be reached ({in_short(error)}); using the copy cached at {before[:12]}")
        return before
    commit = str(listing.sha)
    if not is_commit(commit) or (wanted.pinned and commit != wanted.revision):
        raise AtlasError(f"the hub answered {commit[:60]!r} for {wanted}: expected that commit")
    sizes = {file.rfilename: file.size or 0 for file in listing.siblings or []}
    if not {ATLAS, CHECKSUM} <= set(sizes) or sizes[CHECKSUM] > _LONGEST_CHECKSUM:
        raise AtlasError(f"{wanted} holds no published atlas: expected {ATLAS} and {CHECKSUM}")
    if before is not None and commit != before:
        _tell_move(api, wanted, before, commit, say)
    if _cached_commit(wanted.at(commit)) is None:
        say(f"{wanted}: downloading {ATLAS} of commit {commit[:12]}, {sizes[ATLAS] / 1e6:,.1f} MB")
    else:
        say(f"{wanted}: commit {commit[:12]}, cached")
    return commit


def _tell_move(api: Any, wanted: HubAddress, before: str, now: str, say: Say) -> None:
    """A branch moves as it must; a tag that moved is refused, as the reader may have relied on it."""
    try:
        tags = {tag.name for tag in api.list_repo_refs(wanted.repo, repo_type=KIND).tags}
    except Exception as error:
        raise AtlasError(
            f"{wanted} moved from {before} to {now}, and whether it is a tag cannot be had ({in_short(error)})"
        ) from error
    if wanted.revision in tags:
        raise AtlasError(
            f"the tag {wanted.revision!r} of {wanted.repo!r} was moved after it was opened here: choose the old "
            f"{wanted.at(before)} or the new {wanted.at(now)}"
        )
    say(f"{wanted}: newer than last time, {before[:12]} then and {now[:12]} now")


def _checked_file(wanted: HubAddress, commit: str, say: Say) -> tuple[Path, str]:
    """The atlas of a commit and its sha256. What does not match leaves the cache and is fetched once more."""
    problem = ""
    for _ in range(2):
        try:
            checksum, path = (_cached_or_downloaded(wanted, commit, name) for name in (CHECKSUM, ATLAS))
        except AtlasError as error:
            raise AtlasError(f"{problem}; then: {error}" if problem else str(error)) from error
        stated, found = _stated(checksum), sha256_of(path)
        if stated == found:
            return path, found
        for file in (checksum, path):
            _remove(file)
        problem = (
            f"{wanted}: {ATLAS} of commit {commit[:12]} is damaged and was removed from the cache: its sha256 is "
            f"{found}, and {CHECKSUM} says {stated or 'nothing that can be read'}"
        )
        say(problem)
    raise AtlasError(problem)


def _cached_or_downloaded(wanted: HubAddress, commit: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(wanted.repo, name, repo_type=KIND, revision=commit))
    except Exception as error:
        why = refusal(error, wanted) or f"{name} of {wanted} cannot be downloaded ({in_short(error)})"
        raise AtlasError(why) from error


def _stated(checksum: Path) -> str:
    """The sha256 that the checksum file states; "" if it states none."""
    with checksum.open("rb") as file:
        line = file.read(_LONGEST_CHECKSUM).decode("ascii", "replace")
    found = _CHECKSUM_LINE.fullmatch(line)
    return found[1] if found else ""


def _remove(file: Path) -> None:
    """Take a file out of the cache, where it is a link to its bytes."""
    content = file.resolve()
    file.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def _record(wanted: HubAddress, say: Say) -> None:
    """Let the cache know what a name means, for the next time and for offline."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(wanted.repo, CHECKSUM, repo_type=KIND, revision=wanted.revision)
    except Exception as error:  # noqa: BLE001  likewise
        say(f"{wanted}: offline only the commit will be found, not this name ({in_short(error)})")
