from __future__ import annotations

import numpy as np
import pytest

from head_atlas.catalogue.papers import PAPERS
from head_atlas.catalogue.published import (
    ALIASES,
    PUBLISHED,
    PublishedHead,
    Shows,
    canonical_model,
    published_heads,
)
from head_atlas.catalogue.roles import ROLES
from head_atlas.errors import HeadError
from head_atlas.heads import HeadId
from head_atlas.measures.evidence import Measured, by_family
from head_atlas.measures.published import standings

SIZES = {"gpt2": (12, 12), "gpt2-medium": (24, 16)}


def entry(head: str, *shows: Shows) -> PublishedHead:
    return PublishedHead("gpt2", HeadId.parse(head), "claim", "", shows, "wang2022", "read", "somewhere")


def test_ranks_by_hand():
    value = np.array([[0.1, 0.9, 0.5], [-0.8, np.nan, 0.5]])
    number = Measured(value, value - 0.1, value + 0.1, np.full((2, 3), 9))
    high, low = Shows("m", "f"), Shows("m", "f", -1)
    entries = [
        entry("0.1", high, low),
        entry("0.2", high),
        entry("1.1", high),
        entry("1.0"),
        entry("1.0", Shows("x", "")),
    ]
    first, last, tied, gap, untold, unknown = standings(entries, {("m", "f"): number}, 2, 3)
    assert (first.value, first.low, first.high) == (0.9, 0.8, 1.0)
    assert (first.rank, first.n_heads, first.percentile, first.stands_out) == (1, 5, 100.0, True)
    assert (last.rank, last.percentile, last.stands_out) == (5, 0.0, False)
    assert (tied.rank, tied.percentile) == (2, 62.5)
    assert (gap.rank, gap.stands_out) == (0, None)
    assert untold.shows is None
    assert (unknown.rank, unknown.stands_out) == (0, None)
    with pytest.raises(HeadError, match="there is no head 2"):
        standings([entry("2.0", high)], {}, 2, 3)


def test_models_are_known_by_their_aliases():
    assert canonical_model("openai-community/gpt2") == canonical_model("GPT2") == "gpt2"
    assert canonical_model("openai-community/gpt2-medium") == "gpt2-medium"
    assert canonical_model("someone/gpt2") == "", "a model that only ends in the name is another one"
    assert canonical_model("") == ""
    of_head = published_heads("openai-community/gpt2", HeadId(10, 7))
    assert [one.claim for one in of_head] == ["negative name mover", "copy-suppression head"]
    assert published_heads("atlas/demo/model") == ()
    names = [name for of_model in ALIASES.values() for name in of_model]
    assert len(set(names)) == len(names)


def test_entries_are_heads_of_their_models_and_name_roles():
    for one in PUBLISHED:
        assert one.model in ALIASES
        one.head.within(*SIZES[one.model])
        assert one.role == "" or one.role in ROLES
        assert one.paper in PAPERS
        assert one.seen
        assert one.shows or one.note, "a claim that no number can show says why"
    keys = [(one.model, one.head, one.claim) for one in PUBLISHED]
    assert len(set(keys)) == len(keys)


def test_what_the_circuit_of_indirect_objects_holds():
    of = {}
    for one in published_heads("gpt2"):
        if one.source.startswith("Wang"):
            of.setdefault(one.claim, set()).add(str(one.head))
    assert of["name mover"] == {"9.9", "10.0", "9.6"}
    assert of["negative name mover"] == {"10.7", "11.10"}
    assert of["S-inhibition head"] == {"7.3", "7.9", "8.6", "8.10"}
    assert sum(map(len, of.values())) == 26, "the paper's circuit has 26 heads"


def test_a_head_is_expected_to_stand_out_only_where_its_source_says_so():
    ioi = {(one.model, str(one.head)): one.shows for one in PUBLISHED if one.paper in ("wang2022", "merullo2023")}
    assert ioi["gpt2", "0.10"] == ioi["gpt2", "5.8"] == (), "the paper does not find these on random tokens"
    hurts, helps = Shows("logit_difference", "ioi"), Shows("logit_difference", "ioi", -1)
    assert hurts in ioi["gpt2", "10.7"]
    assert helps in ioi["gpt2-medium", "19.1"], "this one lowers the wrong name"


def test_means_by_family():
    values = np.arange(12.0).reshape(1, 2, 6)
    values[..., 5] = np.nan
    found = by_family(
        "direct_logit", values, ["ioi", "ioi", "fact", "fact", "fact", "natural"], [0, 1, 0, 1, 2, -1], seed=0
    )
    assert set(found) == {("direct_logit", "ioi"), ("direct_logit", "fact")}
    assert found["direct_logit", "ioi"].value.tolist() == [[0.5, 6.5]]
    assert found["direct_logit", "fact"].n.tolist() == [[3, 3]]
