from __future__ import annotations

from pathlib import Path

import pytest

from head_atlas.catalogue import GROUPS, MEASURES, SCORES, markdown
from head_atlas.catalogue.families import FAMILY_NOTES
from head_atlas.prompts.families import FAMILIES

ROOT = Path(__file__).parents[1]


def test_the_docs_table_is_up_to_date():
    assert (ROOT / "docs" / "measures.md").read_text() == markdown()


OTHER_KINDS = {
    "Effects": "effect",
    "Effects for roles": "effect",
    "Effects in the lab": "effect",
    "Circuits": "effect",
    "Attributions": "attribution",
}


@pytest.mark.parametrize(("title", "group"), GROUPS)
def test_the_three_kinds_are_kept_apart(title, group):
    assert {m.kind for m in group.values()} == {OTHER_KINDS.get(title, "score")}


def test_no_name_is_used_twice():
    assert len(MEASURES) == sum(len(group) for _, group in GROUPS)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda m: m.name)
def test_every_entry_says_what_it_must(measure):
    assert MEASURES[measure.name] is measure
    for text in (measure.label, measure.unit, measure.formula, measure.source, measure.pitfall):
        assert text.strip()
    assert measure.sentence.endswith(".")
    assert measure.sentence.count(". ") == 0, "one sentence"
    assert measure.signed == (measure.low is None or measure.low < 0)
    assert measure.low is None or measure.high is None or measure.low < measure.high


def test_variants_are_of_a_measure():
    assert all(m.variant_of in MEASURES for m in MEASURES.values() if m.variant_of)
    assert not any(MEASURES[m.variant_of].variant_of for m in MEASURES.values() if m.variant_of)


def test_scores_name_their_families_and_excess_needs_a_baseline():
    assert all(m.families for m in SCORES.values())
    assert {m.name for m in SCORES.values() if m.has_excess} == {
        "previous_token", "current_token", "sink", "duplicate_token", "induction",
    }  # fmt: skip
    assert SCORES["sink"].summary_prefix("rand_flat") == "sink"
    assert SCORES["sink"].summary_prefix("natural") == "sink_natural"


def test_notes_on_families_are_of_families():
    assert set(FAMILY_NOTES) <= set(FAMILIES)
    assert all(f"- `{name}`: {note}." in markdown() for name, note in FAMILY_NOTES.items())
