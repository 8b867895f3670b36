from __future__ import annotations

import numpy as np
import pytest
from small_atlases import contents, prompts_of

from head_atlas.errors import AtlasError
from head_atlas.exchange import difference
from head_atlas.exchange.difference import in_words
from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas


@pytest.fixture
def compared(tmp_path):
    def compare(one, two, **options):
        write_atlas(tmp_path / "one.h5", one)
        write_atlas(tmp_path / "two.h5", two)
        with open_atlas(tmp_path / "one.h5") as before, open_atlas(tmp_path / "two.h5") as after:
            return difference(before, after, **options)

    return compare


def test_equal_atlases_do_not_differ(compared):
    found = compared(contents({"ioi": (1, 2)}), contents({"ioi": (1, 2)}))
    assert [c.changed for c in found.changes] == [False, False]
    assert [c.change for c in found.changes] == [0, 0]
    assert found.provenance == {}
    assert "0 of 2 means changed" in in_words(found)


def test_a_head_that_changed_by_one_on_every_prompt(compared):
    """Before: 0 or 1 in turn, so 0.5 on average; after: 1 less. Prompt by prompt there is no spread at all."""
    found = compared(contents({"ioi": (0, 0)}), contents({"ioi": (0, -1)}, provenance={"model_fingerprint": "e" * 64}))
    first, second = found.changes
    assert (first.layer, first.head, first.family, first.mode, first.measure) == (
        0,
        1,
        "ioi",
        "zero",
        "logit_difference",
    )
    assert (first.before, first.after, first.change, first.low, first.high) == (0.5, -0.5, -1, -1, -1)
    assert first.paired
    assert first.changed
    # 20 prompts of one sign: no drawn assignment of 20,000 but by chance reaches the mean; two heads are corrected for
    assert first.q < 0.001
    assert (second.head, second.change, second.changed) == (0, 0, False)
    assert set(found.provenance) == {"model_fingerprint"}
    text = in_words(found)
    assert "1 of 2 means changed beyond their intervals, of 1 heads" in text
    assert "L0H1" in text
    assert "L0H0" not in text
    assert found.as_json()["changes"][0]["head"] == 1


@pytest.mark.parametrize("seed", ["seven", -7, 2.5])
def test_a_strange_seed_in_the_file_is_no_obstacle(compared, seed):
    strange = {"provenance": {"seed": seed}}
    found = compared(contents({"ioi": (1, 2)}, **strange), contents({"ioi": (1, 5)}, **strange))
    assert [c.changed for c in found.changes] == [True, False]


def test_a_change_within_the_spread_is_none(compared):
    """The difference is +1 on half of the prompts and -1 on the other half."""
    before = contents({"ioi": (0, 0)})
    after = contents({"ioi": (0, 0)})
    after.arrays["effects/logit_difference"].values[...] = 1 - before.arrays["effects/logit_difference"].values
    assert not any(c.changed for c in compared(before, after).changes)


@pytest.mark.parametrize(("shift", "changed"), [(-3, True), (-0.125, False)])
def test_other_prompts_are_compared_by_their_intervals(compared, shift, changed):
    """20 numbers 0 or 1 in turn: the interval is about 0.5 +- 0.2 wherever it lies."""
    other = prompts_of("ioi", 21)[1:]
    found = compared(contents({"ioi": (0, 0)}), contents({"ioi": (0, shift)}, prompts=other))
    of_second = next(c for c in found.changes if c.head == 1)
    assert not of_second.paired
    assert np.isnan([of_second.low, of_second.high, of_second.q]).all()
    assert of_second.change == shift
    assert of_second.changed is changed
    assert found.as_json()["n_compared"] == 2


def test_scores_are_compared_too_and_families_of_one_side_are_named(compared):
    one = contents({"ioi": (0, 0)}, scores=np.full((1, 2, 20), 0.25))
    two = contents({"ioi": (0, 0), "fact": (0, 0)}, families=("ioi", "fact"), scores=np.full((1, 2, 40), 0.75))
    found = compared(one, two, measures=["sink"])
    assert {(c.mode, c.before, c.after, c.changed) for c in found.changes} == {("", 0.25, 0.75, True)}
    assert found.not_compared["fact"] == "in one of the two atlases only"


def roles(held, low, high):
    shape = (1, 1, 2)
    labels = {"role": ["sink"]}
    criteria = {"criterion": ["sink/attends/sink_excess/natural"]}
    arrays = {"held": (held, "role", labels), "evidence_met": (held, "criterion", criteria)}
    arrays |= {"evidence_low": (low, "criterion", criteria), "evidence_high": (high, "criterion", criteria)}
    return {
        f"roles/{name}": NamedArray(np.array(values, dtype=np.float32).reshape(shape), (dim, "layer", "head"), coords)
        for name, (values, dim, coords) in arrays.items()
    }


def test_roles_gained_and_lost_and_whether_beyond_the_intervals(compared):
    one = contents({"ioi": (0, 0)}, further=roles([1, 0], [0.5, 0.0], [0.6, 0.2]))
    two = contents({"ioi": (0, 0)}, further=roles([0, 1], [0.05, 0.1], [0.2, 0.3]))
    found = compared(one, two)
    assert [(r.role, r.head, r.gained, r.beyond) for r in found.roles] == [
        ("sink", 0, False, True),
        ("sink", 1, True, False),
    ]
    assert "L0H0 lost the role sink\n" in in_words(found)
    assert "L0H1 gained the role sink (within the intervals of the evidence)" in in_words(found)


def test_what_cannot_be_compared(compared):
    with pytest.raises(AtlasError, match=r"no measure 'flip'; there are logit_difference"):
        compared(contents({"ioi": (0, 0)}), contents({"ioi": (0, 0)}), measures=["flip"])
    with pytest.raises(AtlasError, match="no mode 'mean'; there are zero"):
        compared(contents({"ioi": (0, 0)}), contents({"ioi": (0, 0)}), mode="mean")
    with pytest.raises(AtlasError, match="no ablation mode in common"):
        compared(contents({"ioi": (0, 0)}), contents({"ioi": (0, 0)}, modes=("mean",)))


def test_what_is_in_one_of_the_two_only_is_named(compared):
    """A mode, a family that has numbers on one side alone, a role, and a head whose role was judged once."""

    def judged(roles, held):
        return {"roles/held": NamedArray(np.array([held]).swapaxes(0, 1), ("role", "layer", "head"), {"role": roles})}

    families = {"families": ("ioi", "fact")}
    effects = {"ioi": (0, 0), "fact": (0, 0)}
    further = judged(["sink", "other"], [[1.0, np.nan], [0.0, 0.0]])
    one = contents(effects, **families, modes=("zero", "mean"), further=further)
    two = contents(effects, **families, further=judged(["sink"], [[1.0, 1.0]]))
    two.arrays["effects/logit_difference"].values[..., 20:] = np.nan
    found = compared(one, two)
    assert {(change.mode, change.family) for change in found.changes} == {("zero", "ioi")}
    assert found.roles == []
    assert found.not_compared == {
        "logit_difference on fact, zero ablation": "in one of the two atlases only",
        "mean ablation": "in one of the two atlases only",
        "role sink": "of 1 heads judged in one of the two atlases only",
        "role other": "in one of the two atlases only",
    }
    assert "not compared: role sink: of 1 heads judged" in in_words(found)


def test_roles_that_are_no_numbers_are_refused(compared):
    held = NamedArray(np.array([[["a", "b"]]], dtype=object), ("role", "layer", "head"), {"role": ["sink"]})
    strange = contents({"ioi": (0, 0)}, further={"roles/held": held})
    with pytest.raises(AtlasError, match="an array is not what an atlas holds under its name"):
        compared(strange, strange)
