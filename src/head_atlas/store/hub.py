"""Published atlases: their addresses, what a repository holds, and what the hub answers, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from head_atlas.errors import AtlasError

PREFIX = "hub:"
ATLAS, CHECKSUM, CARD = "atlas.h5", "atlas.h5.sha256", "README.md"
"""Files of a published repository. Repositories are of the hub's kind "dataset"."""

KIND = "dataset"
SECONDS = 30
"""To wait for the hub's first answer."""

_WORD = r"[A-Za-z0-9][\w.-]{0,95}"
_ADDRESS = re.compile(rf"hub:({_WORD}/{_WORD})(?:@({_WORD}(?:/{_WORD}){{0,3}}))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NEWEST = "main"


@dataclass(frozen=True)
class HubAddress:
    """The address of an atlas on the Hugging Face hub, `hub:owner/name@revision`.

    Attributes:
        repo: owner and name.
        revision: a tag, a branch, or a commit of 40 hexadecimal digits.
    """

    repo: str
    revision: str = _NEWEST

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read an address; without a revision it means the newest commit.

        Raises:
            AtlasError: it is not one.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or ".." in text:
            raise AtlasError(f"{text[:200]!r} is not the address of an atlas: expected hub:owner/name@revision")
        return cls(found[1], found[2] or _NEWEST)

    @property
    def pinned(self) -> bool:
        """Whether it names a commit, so that it always means the same bytes."""
        return is_commit(self.revision)

    def at(self, commit: str) -> HubAddress:
        """The same repository at a commit."""
        return HubAddress(self.repo, commit)

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}@{self.revision}"


@dataclass(frozen=True)
class PublishedAtlas:
    """An atlas file and the place on the hub that it came from, or went to.

    Attributes:
        path: the file on this machine.
        address: as it was asked for.
        commit: what the address meant, 40 hexadecimal digits.
        sha256: of the file, checked.
    """

    path: Path
    address: HubAddress
    commit: str
    sha256: str

    @property
    def pinned_address(self) -> HubAddress:
        """The address that will always mean these bytes."""
        return self.address.at(self.commit)


def is_hub_address(place: object) -> bool:
    """Whether a text is meant as an address on the hub."""
    return isinstance(place, str) and place.startswith(PREFIX)


def is_commit(text: str) -> bool:
    """Whether a text is a full commit hash."""
    return _COMMIT.fullmatch(text) is not None


def refusal(error: BaseException, address: HubAddress) -> str:
    """The hub's refusal in words; "" where it did not refuse but could not be reached, or failed."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo = address.repo
    words = (
        (GatedRepoError, f"{repo!r} is gated: accept its terms on the hub and log in with `hf auth login`"),
        (DisabledRepoError, f"the hub has disabled access to {repo!r}"),
        (RepositoryNotFoundError, f"there is no data set {repo!r} on the hub, or it is private and hidden from you"),
        (RevisionNotFoundError, f"{repo!r} has no revision {address.revision!r}"),
        (RemoteEntryNotFoundError, f"{address} holds no published atlas: it lacks {ATLAS} or {CHECKSUM}"),
        (LocalTokenNotFoundError, "no token: log in to the hub with `hf auth login`, or set HF_TOKEN"),
        (HFValidationError, f"{address} is not an address on the hub: {error}"),
    )
    for kind, text in words:
        if isinstance(error, kind):
            return text
    if isinstance(error, HfHubHTTPError):
        return _status_in_words(error.response.status_code, repo)
    return refusal(error.__cause__, address) if error.__cause__ else ""


def _status_in_words(status: int, repo: str) -> str:
    if status == 401:
        return "the hub asks for a valid token: log in with `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return f"your token may not do this to {repo!r}: it needs the right to read it, or to write where you publish"
    if status == 404:
        return f"there is no data set {repo!r} on the hub"
    return ""


def in_short(error: BaseException) -> str:
    """What went wrong on the way to the hub, on one line."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # the client's advice says less than what happened
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
