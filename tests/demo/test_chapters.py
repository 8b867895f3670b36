"""What the chapters of the Learn tab say of the demo model is what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from head_atlas import load_model, open_atlas
from head_atlas.app.chapters import CHAPTERS
from head_atlas.errors import AtlasError

DEMO = Path(__file__).parents[2] / "atlas" / "demo"


@pytest.fixture(scope="module")
def demo():
    return load_model(DEMO / "model"), open_atlas(DEMO / "atlas.h5")


def run(demo, name, seed=0):
    model, atlas = demo
    plan = CHAPTERS[name].plan(atlas, seed)
    return plan, CHAPTERS[name].run(model, plan)


OUTCOMES = {
    "ablation": "gone",
    "attribution": "earlier",
    "attention": "first",
    "categories": "repetition",
    "induction": "gone",
    "circuits": "lost",
    "backup": "more",
    "polysemanticity": "both",
    "superposition": "more",
    "facts": "moves",
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_first_experiment_comes_out_as_known(demo, name):
    _, found = run(demo, name)
    assert found.outcome == OUTCOMES[name]
    values = [row.value for _, rows in found.groups for row in rows]
    assert all(0 <= value <= 1 for value in values)


@pytest.mark.parametrize("name", ["ablation", "induction", "circuits", "backup", "attention", "facts"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_words_come_out_alike(demo, name, seed):
    assert run(demo, name, seed)[1].outcome == OUTCOMES[name]


def rows_of(found, group=0):
    return {row.label: row.value for row in found.groups[group][1]}


LACKS = {
    "backup": ("summary", {}, "no induction scores"),
    "attention": ("summary", {}, "no previous-token scores"),
    "polysemanticity": ("modes", ("mean",), "no effects of zero ablation"),
    "categories": ("prompts", [], "no prompt in which nothing is repeated"),
    "facts": ("prompts", [], "no prompt of the family “fact”"),
}


@pytest.mark.parametrize("name", LACKS)
def test_a_chapter_says_what_the_atlas_lacks(demo, name):
    part, left, said = LACKS[name]

    class Less:
        def __getattr__(self, attribute):
            return left if attribute == part else getattr(demo[1], attribute)

    with pytest.raises(AtlasError, match=said):
        CHAPTERS[name].plan(Less(), 0)


@pytest.mark.parametrize("name", ["ablation", "induction"])
def test_the_control_changes_little_where_the_heads_change_all(demo, name):
    clean, removed, control = rows_of(run(demo, name)[1]).values()
    assert clean > 0.9
    assert removed < 0.05
    assert control > 0.9 * clean


def test_induction_heads_lose_their_place_without_the_head_below(demo):
    plan, found = run(demo, "circuits")
    clean, removed, control = rows_of(found).values()
    assert (clean > 0.8, removed < 0.1, control > 0.8) == (True, True, True)
    assert max(head.layer for head in plan.heads) < min(head.layer for head in plan.readers)


def test_two_heads_that_look_alike_do_not_matter_alike(demo):
    plan, found = run(demo, "attention")
    looks = rows_of(found, 1)
    assert all(looks[head.label] > 0.7 for head in plan.heads)
    clean, first, second, _ = rows_of(found).values()
    assert first < 0.05
    assert second > 0.95 * clean


def test_small_losses_hide_a_large_one(demo):
    plan, found = run(demo, "backup")
    assert len(plan.heads) >= 2
    alone = rows_of(found, 1).values()
    clean, added, joint, control = rows_of(found).values()
    assert min(alone) > 0.95 * clean
    assert added > 0.9
    assert joint < 0.05
    assert control > 0.9


def test_one_head_serves_two_unlike_answers(demo):
    plan, found = run(demo, "polysemanticity")
    assert plan.second.family != plan.prompt.family
    for group in (0, 1):
        clean, removed, control = rows_of(found, group).values()
        assert removed < 0.1 * clean
        assert control > 0.9 * clean


def test_induction_heads_do_not_matter_where_nothing_repeats(demo):
    found = run(demo, "categories")[1]
    clean, removed, _ = rows_of(found, 1).values()
    assert removed > 0.9 * clean


def test_the_earlier_name_is_worth_less_without_its_head(demo):
    clean, removed, control = rows_of(run(demo, "attribution")[1], 1).values()
    assert removed < 0.5 * clean
    assert control > 0.8 * clean


def test_tokens_overlap_more_than_chance(demo):
    tokens, chance = rows_of(run(demo, "superposition")[1]).values()
    assert tokens > 1.2 * chance


def test_the_panel_shows_what_an_atlas_has_and_says_what_it_lacks(demo):
    panel = CHAPTERS["superposition"].panel(demo[1])
    if "interference" in demo[1].model:
        assert panel["sections"]
    else:
        assert "says nothing of superposition" in panel["empty"]
