"""Reading an atlas: checked when opened, then array by array as asked for."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.store.checksum import sha256_of
from head_atlas.store.contents import MeanZ, PromptRecord, ResamplePrompts
from head_atlas.store.corpus import read_corpus, read_vocabulary
from head_atlas.store.exemplars import StoredExemplars
from head_atlas.store.hub import PublishedAtlas, is_hub_address
from head_atlas.store.inspection import inspect, is_known
from head_atlas.store.schema import COUNTED, LAYOUTS, VIEWS
from head_atlas.store.validate import check_axes, check_signature, check_structure, check_version

_FAILURES = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, ArithmeticError)
_CACHE_BYTES = 512 * 2**20
_HASHED_BYTES = 256 * 2**20
_ARRAYS = ("array", "string-array")
_NOT_PROVENANCE = {"encoding-type", "encoding-version", "build_complete", "left_out", "notes", "checks"}


def open_atlas(path: str | Path, *, trusted: bool = False) -> Atlas:
    """Open an atlas file, or a published one by its address.

    Args:
        path: a file, or `hub:owner/name@revision`: downloaded and checked as `store.fetching.fetch` says.
        trusted: whether to check it in this process and no other (`store.inspection`), because no stranger can
            have made it. Files that this process wrote, or that passed before, are not checked again in any case.

    Raises:
        AtlasError: the file is missing, not HDF5, truncated, damaged, not an atlas, of a newer major
            version, unfinished, or holds something that an atlas must not hold; or it cannot be had from the hub.
    """
    if is_hub_address(path):
        # imported late: the client of the hub is not needed for files
        from head_atlas.store.fetching import open_published

        return open_published(str(path))
    if trusted:
        return Atlas(path)
    inspect(Path(path))
    atlas = Atlas(path, walked=True)
    if not is_known(Path(path)):
        atlas.close()
        raise AtlasError(f"{path} changed while it was opened; open it again")
    return atlas


class Atlas:
    """An open atlas. Mappings by name give arrays with named axes, read on first use and cached.

    Safe to share between threads. Close it, or use it in a `with` statement.

    Args:
        path: the file; `open_atlas` is the way to open one.
        walked: whether its structure and its axes were checked already.

    Attributes:
        path: where the file lies.
        called: what messages call it: the path, unless whoever opened it says otherwise, as a public server does.
        source: where on the hub it came from, commit and sha256; None for a file of this machine.
        n_layers: layers of the model.
        n_heads: query heads per layer.
        n_prompts: measured prompts.
        model_id: the model's folder or hub name when it was measured.
        version: of the file's format.
        families: names of the prompt families.
        modes: ablation modes.
        provenance: model revision and fingerprint, tokenizer and corpus hashes, versions, seeds, ...
        left_out: by name, why a family or measure is not here.
        notes: by name, what to know of a family or measure that is; empty in files that were written without.
        checks: the identity checks that the model passed before it was measured.
        scores: by name, [layer, head, prompt]; NaN where a score is not measured on a prompt.
        baselines: by name, [layer, prompt]: what a head that attends uniformly would score.
        effects: by name, [mode, layer, head, prompt], ablated - clean; NaN where not defined.
        clean: by name, [prompt]: the unablated model's performance.
        summary: by name, as `atlas/README.md` lists them; so with all that follow, which are empty in an atlas
            that was built without them or before version 1.1.
        weights: scores that are read from the weights.
        direct_logit: attributions to the logit difference.
        syntax: scores by grammatical relation and direction.
        nulls: what the role scores would be by chance.
        roles: evidence for each role, grades and states.
        exemplars: by set of prompts, and then by name: the prompts that show what a head does.
        neurons: what is measured of neurons.
        model: what is measured of the whole model.
    """

    def __init__(self, path: str | Path, *, walked: bool = False) -> None:
        self.path = Path(path)
        self.called = str(self.path)
        self.source: PublishedAtlas | None = None
        check_signature(self.path)
        try:
            self._file = h5py.File(self.path, "r", locking="best-effort")
        except OSError as error:
            how = "is truncated" if "truncated" in str(error) else "is damaged"
            raise AtlasError(f"{self.called} {how}: {error}") from error
        try:
            check_version(self._file)
            if not walked:
                check_structure(self._file)
                check_axes(self._file)
            self._read_header()
        except AtlasError:
            self._file.close()
            raise
        except _FAILURES as error:
            self._file.close()
            raise AtlasError(f"{self.called} is damaged: {error}") from error
        cache = _ArrayCache(_CACHE_BYTES)
        groups = {name: _Arrays(self, name, cache) for name, layout in LAYOUTS.items() if not layout.nested}
        self.scores, self.baselines = groups["scores"], groups["baselines"]
        self.effects, self.clean, self.summary = groups["effects"], groups["clean"], groups["summary"]
        self.weights, self.direct_logit = groups["weights"], groups["direct_logit"]
        self.syntax, self.nulls, self.roles = groups["syntax"], groups["nulls"], groups["roles"]
        self.neurons, self.model = groups["neurons"], groups["model"]
        self.exemplars = {name: _Arrays(self, f"exemplars/{name}", cache) for name in self.groups("exemplars")}

    def _read_header(self) -> None:
        root = self._file
        self.n_layers, self.n_heads = root["layer"].shape[0], root["head"].shape[0]
        self.n_prompts = root["prompt"].shape[0]
        self.families: list[str] = root["family"].asstr()[()].tolist()
        self.modes: list[str] = root["mode"].asstr()[()].tolist()
        values: dict[str, Any] = {}
        for key, value in root.attrs.items():
            if key.endswith("_json"):
                values[key.removesuffix("_json")] = json.loads(value)
            else:
                values[key] = value.item() if isinstance(value, np.generic) else value
        self.left_out, self.notes = (self._texts(values.get(key, {}), key) for key in ("left_out", "notes"))
        self.checks: list[dict[str, Any]] = values.get("checks", [])
        if not isinstance(self.checks, list) or not all(isinstance(check, dict) for check in self.checks):
            raise AtlasError(f"{self.called}: checks_json must be an array of objects")
        self.provenance = {key: value for key, value in values.items() if key not in _NOT_PROVENANCE}
        self.model_id: str = str(values.get("model_id", ""))
        self.version: str = str(values["encoding-version"])

    def _texts(self, value: Any, key: str) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise AtlasError(f"{self.called}: {key}_json must be an object of texts")
        return value

    @cached_property
    def prompts(self) -> tuple[PromptRecord, ...]:
        """Every measured prompt, in the order of the `prompt` axis."""
        try:
            return read_corpus(self._file, self.families)
        except _FAILURES as error:
            raise AtlasError(f"{self.called}: the prompts are damaged: {error}") from error

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the file that is open, in hex.

        "" of one over 256 MiB that is not published, as reading it takes too long, and of one that was replaced or
        taken away before it was first asked for: what lies there now is not what these numbers are from.
        """
        if self.source is not None:
            return self.source.sha256
        try:
            there, ours = self.path.stat(), os.fstat(int(self._file.id.get_vfd_handle()))
            if not os.path.samestat(there, ours) or there.st_size > _HASHED_BYTES:
                return ""
            return sha256_of(self.path)
        except OSError:  # it was taken away
            return ""

    @cached_property
    def offsets(self) -> NamedArray | None:
        """Mean attention by distance, [layer, head, bin], or None."""
        return self.read("offsets") if "offsets" in self._file else None

    def mean_reference(self) -> MeanZ | None:
        """What mean ablation puts in place of a head's output, or None.

        Raises:
            AtlasError: its bytes are damaged, or it does not say where it was taken.
        """
        if "mean_z" not in self._file["references"]:
            return None
        values = self.read("references/mean_z").values
        try:
            attrs = self._file["references/mean_z"].attrs
            return MeanZ(values, str(attrs["source"]), int(attrs["n_tokens"]))
        except _FAILURES as error:
            raise AtlasError(f"{self.called}: /references/mean_z lacks its source: {error}") from error

    def resample_prompts(self) -> ResamplePrompts | None:
        """Whose activations resample ablation puts in place of a head's output, or None.

        Raises:
            AtlasError: its bytes are damaged, or it does not say where it was taken.
        """
        if "resample_token" not in self._file["references"]:
            return None
        tokens = self.read("references/resample_token").values
        try:
            attrs = self._file["references/resample_token"].attrs
            return ResamplePrompts(tokens, str(attrs["source"]), int(attrs["seed"]))
        except _FAILURES as error:
            raise AtlasError(f"{self.called}: /references/resample_token lacks its source: {error}") from error

    def stored_exemplars(self, name: str) -> StoredExemplars:
        """The exemplars of a set of prompts, "text" or "families", head by head.

        Raises:
            KeyError: there are none of that set.
            AtlasError: they are damaged.
        """
        if name not in self.exemplars:
            raise KeyError(f"no exemplars of {name!r}; there are those of {', '.join(self.exemplars) or 'none'}")
        lengths = [len(prompt) for prompt in self.prompts]
        return StoredExemplars(self.exemplars[name], self.n_layers, self.n_heads, lengths)

    @cached_property
    def token_strings(self) -> dict[int, str]:
        """Every token id that occurs in this atlas, decoded alone."""
        try:
            return read_vocabulary(self._file)
        except _FAILURES as error:
            raise AtlasError(f"{self.called}: the vocabulary is damaged: {error}") from error

    def read(self, place: str) -> NamedArray:
        """Read one array of the file with its axes and their labels.

        Raises:
            AtlasError: it is not there, or its bytes are damaged.
        """
        return self._read(place, VIEWS[0], {})

    def of_head(self, place: str, head: HeadId) -> NamedArray:
        """What an array, such as "scores/induction", holds of one head: [prompt], or [mode, prompt].

        Reads no more than that from a large array, which `read` would load whole.

        Raises:
            AtlasError: it is not there, its bytes are damaged, or it has no such head.
        """
        return self._read(place, "by_head", {"layer": head.layer, "head": head.head})

    def of_prompt(self, place: str, index: int) -> NamedArray:
        """What an array holds of one prompt: [layer, head], or [mode, layer, head].

        Raises:
            AtlasError: it is not there, its bytes are damaged, or it has no such prompt.
        """
        return self._read(place, "by_prompt", {"prompt": index})

    def _read(self, place: str, view: str, chosen: Mapping[str, int]) -> NamedArray:
        """Read an array, or part of it, from the view that suits it if it has views."""
        try:
            dataset = self._file[place if place in self._file else f"{view}/{place}"]
            scales = [dataset.dims[axis][0] for axis in range(dataset.ndim)]
            dims = tuple(scale.name.rsplit("/", 1)[-1] for scale in scales)
            absent = [dim for dim in chosen if dim not in dims]
            if absent:
                raise KeyError(f"it has no axis {absent[0]!r}")
            kept = tuple(dim for dim in dims if dim not in chosen)
            labels = {
                dim: _labels(scale)
                for dim, scale in zip(dims, scales, strict=True)
                if dim not in COUNTED and dim not in chosen
            }
            values = _values(dataset, tuple(chosen.get(dim, slice(None)) for dim in dims))
            return NamedArray(values, kept, {dim: names for dim, names in labels.items() if names})
        except _FAILURES as error:
            raise AtlasError(f"{self.called}: /{place} cannot be read: {error}") from error

    def read_through(self, place: str) -> None:
        """Read every number of an array, of both views if it has them, and keep none; a view is never in memory whole.

        Raises:
            AtlasError: its bytes are damaged.
        """
        if place in self._file:
            self.read(place)
            return
        try:
            for view in VIEWS:
                stored = self._file[f"{view}/{place}"]
                for part in stored.iter_chunks() if stored.chunks else (...,):
                    stored[part]
        except _FAILURES as error:
            raise AtlasError(f"{self.called}: /{place} cannot be read: {error}") from error

    def places(self) -> list[str]:
        """Places of all arrays of measures and references: "scores/induction", "exemplars/text/key", "offsets".

        An array that lies in the file as views has one place, like others: that without the view.
        """
        groups = [*LAYOUTS, "references", "provenance"]
        groups += [f"{name}/{inner}" for name in groups for inner in self.groups(name)]
        found = [f"{group}/{name}" for group in groups for name in self.names(group)]
        return sorted([*found, *(["offsets"] if "offsets" in self._file else [])])

    def names(self, group: str) -> list[str]:
        """Names of the arrays in a group, be they in one piece or as views."""
        found: set[str] = set()
        for place in (group, f"{VIEWS[0]}/{group}"):
            members = self._file[place].items() if place in self._file else ()
            found |= {name for name, element in members if element.attrs["encoding-type"] in _ARRAYS}
        return sorted(found)

    def groups(self, group: str) -> list[str]:
        """Names of the groups in a group."""
        members = self._file[group].items() if group in self._file else ()
        return sorted(name for name, element in members if isinstance(element, h5py.Group))

    def close(self) -> None:
        """Close the file; what was read stays usable."""
        self._file.close()

    def __enter__(self) -> Atlas:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Atlas({str(self.path)!r}: {self.model_id}, {self.n_layers} layers x {self.n_heads} heads)"


_LARGE = 2**26


def _values(dataset: h5py.Dataset, part: tuple[int | slice, ...] = ()) -> np.ndarray:
    if not any(isinstance(index, int) for index in part) and dataset.ndim > 1 and dataset.nbytes > _LARGE:
        # row by row: other threads get their turn in between
        whole: np.ndarray = np.empty(dataset.shape, dataset.dtype)
        for row in range(len(whole)):
            whole[row] = dataset[row]
        return whole
    values: np.ndarray = (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[part]
    return values


def _labels(scale: h5py.Dataset) -> list[Any]:
    """Labels of an axis; none where they only count from 0."""
    labels = _values(scale)
    counts = labels.dtype.kind in "iu" and np.array_equal(labels, np.arange(len(labels)))
    return [] if counts else labels.tolist()


class _ArrayCache:
    """Least recently used arrays within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self._budget, self._bytes = budget, 0
        self._arrays: OrderedDict[str, NamedArray] = OrderedDict()
        self._lock = RLock()

    def get(self, place: str, atlas: Atlas) -> NamedArray:
        with self._lock:
            if place not in self._arrays:
                self._arrays[place] = atlas.read(place)
                self._bytes += self._arrays[place].values.nbytes
            self._arrays.move_to_end(place)
            while len(self._arrays) > 1 and self._bytes > self._budget:
                _, oldest = self._arrays.popitem(last=False)
                self._bytes -= oldest.values.nbytes
            return self._arrays[place]


class _Arrays(Mapping[str, NamedArray]):
    """The arrays of one group, by name."""

    def __init__(self, atlas: Atlas, group: str, cache: _ArrayCache) -> None:
        self._atlas, self._group, self._cache = atlas, group, cache
        self._names = dict.fromkeys(atlas.names(group))

    def __contains__(self, name: object) -> bool:
        # The default of mappings would read the array.
        return name in self._names

    def __getitem__(self, name: str) -> NamedArray:
        if name not in self._names:
            raise KeyError(f"no {name!r} in /{self._group}; there are {', '.join(self._names) or 'none'}")
        return self._cache.get(f"{self._group}/{name}", self._atlas)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{self._group}: {', '.join(self._names)}"
