from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from head_atlas.catalogue import MEASURES
from head_atlas.catalogue.glossary import GLOSSARY
from head_atlas.catalogue.reading import GROUPS_OF_RESEARCH, PAPERS
from head_atlas.catalogue.roles import ROLES
from head_atlas.views.learning import glossary_props, reading_props, story_props
from head_atlas.views.terms import marked


def joined(segments):
    return "".join(part if isinstance(part, str) else part["text"] for part in segments)


def terms(segments):
    return [part["term"] for part in segments if not isinstance(part, str)]


def test_words_of_the_glossary_are_marked_where_they_stand_first():
    text = "Two induction heads read the residual stream; an Induction head writes to it. Logits!"
    segments = marked(text)
    assert joined(segments) == text
    assert terms(segments) == ["induction", "residual stream", "logit"]
    assert segments[1]["text"] == "induction heads"
    assert segments[1]["meaning"].startswith("Reading on")


def test_pieces_of_other_words_are_not_marked():
    assert terms(marked("The sinking snatched mlperf is ineffective, tokenless and un-token-like.")) == []


def test_a_longer_term_goes_before_a_shorter_one_within_it():
    assert terms(marked("mean ablation, path patching, attention sinks")) == [
        "mean ablation",
        "path patching",
        "attention sink",
    ]


def test_what_was_seen_is_not_marked_again():
    seen: set[str] = set()
    assert terms(marked("a token", seen)) == ["token"]
    assert terms(marked("two tokens and a logit", seen)) == ["logit"]


@pytest.mark.parametrize("text", ["", "<b>token</b> ${logit} {{nat}}", "…"])
def test_any_text_stays_as_it_is(text):
    assert joined(marked(text)) == text


def test_the_glossary_has_each_word_once_and_in_order():
    names = [one.name for one in GLOSSARY]
    assert len(names) >= 35
    assert names == sorted(names, key=str.lower)
    forms = [form.lower() for one in GLOSSARY for form in (one.name, *one.forms)]
    assert len(forms) == len(set(forms))
    assert all(one.meaning.endswith((".", "?")) and len(one.meaning) < 260 for one in GLOSSARY)


NAMED_YEAR = re.compile(r"((?:[A-Z][\w-]+|nostalgebraist)(?: et al\.| and [A-Z][\w-]+)?) (\d{4})")


def cited(source):
    """Family name of the first author, and year, of each paper in a catalogue's source."""
    found = [(m[1].split()[0].lower(), int(m[2])) for m in NAMED_YEAR.finditer(source)]
    if "HeadVis" in source:
        found = [("luger", 2026)]
    return found


def test_every_source_of_the_catalogue_is_in_the_further_reading():
    known = {(paper.first.lower(), paper.year) for paper in PAPERS.values()}
    sources = [m.source for m in MEASURES.values()] + [role.sources for role in ROLES.values()]
    missing = set()
    for source in sources:
        found = cited(source)
        assert found or source.startswith("this project"), source
        missing |= set(found) - known
    assert missing == set()


def test_the_papers_that_must_not_miss_are_there():
    assert {"vaswani2017", "elhage2021", "olsson2022", "meng2022", "elhage2022", "bricken2023"} <= set(PAPERS)
    assert [g.name for g in GROUPS_OF_RESEARCH] == ["Anthropic", "EleutherAI", "Redwood Research", "Google DeepMind"]
    for key, paper in PAPERS.items():
        assert key == f"{paper.first.lower()}{paper.year}"
        assert urlsplit(paper.url).scheme == "https"
        assert paper.title
        assert paper.venue
    assert len({paper.url for paper in PAPERS.values()}) == len(PAPERS)


def test_lists_are_complete_and_stories_mark_each_term_once():
    assert len(glossary_props()["terms"]) == len(GLOSSARY)
    assert len(reading_props()["papers"]) == len(PAPERS)
    story = story_props([("", ["A token."]), ("More", ["Tokens and logits."])], papers=["olsson2022"])
    assert [terms(p) for s in story["sections"] for p in s["paragraphs"]] == [["token"], ["logit"]]
    assert story["papers"][0]["url"].startswith("https://")
