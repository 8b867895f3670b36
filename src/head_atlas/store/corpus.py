"""The measured prompts inside the file: ragged arrays as one flat array and one row of offsets each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from head_atlas.errors import AtlasError, PromptError
from head_atlas.prompts.prompt import Prompt
from head_atlas.store.contents import PromptRecord
from head_atlas.store.elements import create_array, create_dimension, create_group
from head_atlas.store.schema import SPLITS

NO_CONTRAST = -1


def write_corpus(
    root: h5py.Group, prompts: Sequence[Prompt], families: Sequence[str], token_strings: Mapping[int, str]
) -> None:
    """Write `/corpus`. Texts are blobs of UTF-8, as variable-length strings do not compress."""
    group = create_group(root, "corpus")
    create_dimension(group, "prompt_edge", len(prompts) + 1)
    place = {family: index for index, family in enumerate(families)}
    for name, values in (
        ("family_index", [place[p.family] for p in prompts]),
        ("template", [p.template for p in prompts]),
        ("split", [SPLITS.index(p.split) for p in prompts]),
    ):
        dataset = create_array(group, name, np.array(values, dtype=np.int32), ("prompt",), compressed=True)
        if name == "split":
            dataset.attrs["flag_values"] = np.arange(len(SPLITS), dtype=np.int32)
            dataset.attrs["flag_meanings"] = " ".join(SPLITS)

    _write_blobs(group, "text", [p.text for p in prompts], "prompt_edge")
    _write_blobs(group, "annotation", [_annotations_as_json(p) for p in prompts], "prompt_edge")
    _write_rows(group, "token", {"token_id": [p.tokens for p in prompts]})
    _write_rows(group, "corrupted", {"corrupted_id": [p.corrupted for p in prompts]})
    _write_rows(
        group,
        "target",
        {
            "target_position": [p.positions for p in prompts],
            "target_id": [p.targets for p in prompts],
            "contrast_id": [p.contrasts or (NO_CONTRAST,) * len(p.targets) for p in prompts],
        },
    )

    used = {t for p in prompts for t in (*p.tokens, *p.targets, *p.contrasts, *p.corrupted)}
    if not used <= set(token_strings):
        raise ValueError(f"/corpus: token {min(used - set(token_strings))} has no string")
    ids = sorted(token_strings)
    create_dimension(group, "vocabulary", len(ids))
    create_dimension(group, "vocabulary_edge", len(ids) + 1)
    create_array(group, "vocabulary_id", np.array(ids, dtype=np.int32), ("vocabulary",), compressed=True)
    _write_blobs(group, "vocabulary_string", [token_strings[i] for i in ids], "vocabulary_edge")


def read_corpus(root: h5py.Group, families: Sequence[str]) -> tuple[PromptRecord, ...]:
    """Read every prompt back.

    Raises:
        AtlasError: an offset, a family or a position points outside of the file's own arrays.
    """
    group = root["corpus"]
    columns = {name: group[name][()] for name in ("family_index", "template", "split")}
    texts, annotations = _read_blobs(group, "text"), _read_blobs(group, "annotation")
    tokens = _read_rows(group, "token", "token_id")
    corrupted = _read_rows(group, "corrupted", "corrupted_id")
    positions = _read_rows(group, "target", "target_position")
    targets = _read_rows(group, "target", "target_id")
    contrasts = _read_rows(group, "target", "contrast_id")
    string_of = read_vocabulary(root)
    records = []
    for index in range(root["prompt"].shape[0]):
        family, split = int(columns["family_index"][index]), int(columns["split"][index])
        if not (0 <= family < len(families) and 0 <= split < len(SPLITS)):
            raise AtlasError(f"/corpus: prompt {index} names family {family} and split {split}")
        contrast = contrasts[index] if NO_CONTRAST not in contrasts[index] else ()
        try:
            record = PromptRecord(
                text=texts[index],
                tokens=tokens[index],
                positions=positions[index],
                targets=targets[index],
                contrasts=contrast,
                family=families[family],
                template=int(columns["template"][index]),
                split=SPLITS[split],
                corrupted=corrupted[index],
                annotations=_annotations_from_json(annotations[index]),
                index=index,
                strings=tuple(string_of[t] for t in tokens[index]),
                target_strings=tuple(string_of[t] for t in targets[index]),
                contrast_strings=tuple(string_of[t] for t in contrast),
            )
        except PromptError as error:
            raise AtlasError(f"/corpus: prompt {index}: {error}") from error
        records.append(record)
    return tuple(records)


def read_vocabulary(root: h5py.Group) -> dict[int, str]:
    """Every token id of the file, decoded alone."""
    group = root["corpus"]
    return dict(zip(group["vocabulary_id"][()].tolist(), _read_blobs(group, "vocabulary_string"), strict=True))


def _annotations_as_json(prompt: Prompt) -> str:
    if not prompt.annotations:
        return ""
    return json.dumps({k: list(v) for k, v in sorted(prompt.annotations.items())}, separators=(",", ":"))


def _annotations_from_json(text: str) -> dict[str, tuple[int, ...]]:
    return {str(k): tuple(int(i) for i in v) for k, v in json.loads(text).items()} if text else {}


def _write_blobs(group: h5py.Group, name: str, texts: Sequence[str], edge: str) -> None:
    encoded = [text.encode("utf-8", errors="replace") for text in texts]
    blob = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    create_dimension(group, f"{name}_byte", blob.size)
    create_array(group, f"{name}_blob", blob, (f"{name}_byte",), compressed=True)
    create_array(group, f"{name}_offset", _edges([len(e) for e in encoded]), (edge,), compressed=True)


def _read_blobs(group: h5py.Group, name: str) -> list[str]:
    blob = group[f"{name}_blob"][()].tobytes()
    edges = _read_edges(group[f"{name}_offset"], len(blob))
    return [blob[a:b].decode("utf-8") for a, b in itertools.pairwise(edges)]


def _write_rows(group: h5py.Group, name: str, columns: Mapping[str, Sequence[Sequence[int]]]) -> None:
    first = next(iter(columns.values()))
    create_dimension(group, f"{name}_row", sum(len(row) for row in first))
    for column, rows in columns.items():
        flat = np.array([i for row in rows for i in row], dtype=np.int32)
        create_array(group, column, flat, (f"{name}_row",), compressed=True)
    edges = _edges([len(row) for row in first])
    create_array(group, f"{name}_offset", edges, ("prompt_edge",), compressed=True)


def _read_rows(group: h5py.Group, name: str, column: str) -> list[tuple[int, ...]]:
    flat = group[column][()].tolist()
    edges = _read_edges(group[f"{name}_offset"], len(flat))
    return [tuple(flat[a:b]) for a, b in itertools.pairwise(edges)]


def _edges(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _read_edges(dataset: h5py.Dataset, end: int) -> list[int]:
    edges: Any = dataset[()]
    if edges[0] != 0 or edges[-1] != end or (np.diff(edges) < 0).any():
        raise AtlasError(f"{dataset.name}: offsets must rise from 0 to {end}")
    offsets: list[int] = edges.tolist()
    return offsets
