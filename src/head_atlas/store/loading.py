"""A whole atlas in memory again, to be changed and written anew."""

from __future__ import annotations

from head_atlas.errors import AtlasError
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store.contents import AtlasContents, PromptRecord
from head_atlas.store.reader import Atlas

_NOT_ARRAYS = ("references/", "provenance/")


def contents_of(atlas: Atlas) -> AtlasContents:
    """Everything that an atlas holds: writing it gives an equal file.

    Raises:
        AtlasError: a part of it is damaged.
    """
    arrays = {place: atlas.read(place) for place in atlas.places() if not place.startswith(_NOT_ARRAYS)}
    return AtlasContents(
        n_layers=atlas.n_layers,
        n_heads=atlas.n_heads,
        families=atlas.families,
        modes=atlas.modes,
        prompts=[_without_strings(prompt) for prompt in atlas.prompts],
        token_strings=atlas.token_strings,
        arrays=arrays,
        mean_z=atlas.mean_reference(),
        resample_prompts=atlas.resample_prompts(),
        provenance=atlas.provenance,
        left_out=atlas.left_out,
        notes=atlas.notes,
        checks=atlas.checks,
        shards=_shards(atlas),
    )


def _without_strings(prompt: PromptRecord) -> Prompt:
    return Prompt(**{name: getattr(prompt, name) for name in Prompt.__dataclass_fields__})


def _shards(atlas: Atlas) -> dict[str, str]:
    """By unit of the build, the hash of its shard."""
    place = "provenance/shard_sha256"
    if place not in atlas.places():
        return {}
    found: NamedArray = atlas.read(place)
    if not len(found.values):
        return {}
    if found.dims != ("unit",) or "unit" not in found.coords:
        raise AtlasError(f"{atlas.called}: /{place} has no units")
    return dict(zip(map(str, found.coords["unit"]), map(str, found.values), strict=True))
