from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from head_atlas.app.chapters import CHAPTERS
from head_atlas.catalogue import MEASURES
from head_atlas.catalogue.glossary import GLOSSARY
from head_atlas.catalogue.published import PUBLISHED
from head_atlas.catalogue.reading import GROUPS_OF_RESEARCH, PAPERS, cited, unknown_citations
from head_atlas.catalogue.reference_list import references_markdown
from head_atlas.catalogue.roles import ROLES
from head_atlas.views.learning import glossary_props, reading_props, story_props
from head_atlas.views.terms import marked, with_terms


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


def test_sections_explain_their_words_once_and_keep_everything_else():
    sections = [
        {"kind": "bars", "title": "A token", "lead": "A token and a logit.", "rows": [{"label": "token", "t": 0.5}]},
        {"kind": "entries", "entries": [{"term": "Logit", "text": "A logit of a neuron.", "source": "a nat"}]},
        {"kind": "roles", "roles": [{"pitfall": "Tokens.", "sentence": "A token."}], "none": None},
    ]
    found = with_terms(sections)
    assert terms(found[0]["lead"]) == ["token", "logit"]
    assert joined(found[0]["lead"]) == sections[0]["lead"]
    assert (found[0]["title"], found[0]["rows"]) == (sections[0]["title"], sections[0]["rows"])
    assert terms(found[1]["entries"][0]["text"]) == ["neuron"], "the logit is explained above"
    assert (found[1]["entries"][0]["term"], found[1]["entries"][0]["source"]) == ("Logit", "a nat")
    assert found[2]["roles"][0] == {"pitfall": ["Tokens."], "sentence": "A token."}
    assert sections[0]["lead"] == "A token and a logit.", "what was given is not changed"


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


def test_a_citation_is_found_by_author_and_year_and_where_there_are_two_by_title():
    assert cited("Roy and Vetterli 2007; nostalgebraist 2020, and later (Kramar et al. 2024)") == (
        "roy2007", "nostalgebraist2020", "kramar2024",
    )  # fmt: skip
    assert cited("Gould et al. 2023, Mechanistically interpreting time in GPT-2 small") == ("gould2023b",)
    assert cited("Gould et al. 2023") == ("gould2023",)
    assert cited("this project, in 2023") == ()
    assert unknown_citations("Nobody et al. 2021; Wang et al. 2022") == ("Nobody et al. 2021",)


def test_every_source_of_the_catalogue_is_in_the_further_reading():
    sources = [m.source for m in MEASURES.values()] + [role.sources for role in ROLES.values()]
    for source in sources:
        assert cited(source) or source.startswith("this project"), source
        assert unknown_citations(source) == (), source


NAMED = re.compile(r"[A-Z][\w’-]+ (?:et al\.|and [A-Z][\w’-]+)(?:'s)?,? \(?(?:19|20)\d\d")


def test_every_paper_that_the_code_or_its_documents_name_is_in_the_further_reading():
    root = Path(__file__).parents[2]
    files = [*root.glob("src/**/*.py"), *root.glob("docs/*.md"), root / "README.md"]
    named = {
        match.replace(",", "").replace("(", "")
        for file in files
        if file.name not in ("papers.py", "references.md")
        for match in NAMED.findall(file.read_text())
    }
    assert len(named) > 30
    assert {one for one in named if unknown_citations(one)} == set()


def test_the_glossary_and_the_chapters_name_no_paper_that_is_not_listed():
    texts = [one.meaning for one in GLOSSARY]
    texts += [p for c in CHAPTERS.values() for s in c.story for p in s.paragraphs] + [
        p for c in CHAPTERS.values() for p in c.after
    ]
    assert {one for text in texts for one in unknown_citations(text)} == set()


def test_published_heads_name_papers_of_the_list():
    assert {one.paper for one in PUBLISHED} <= set(PAPERS)


def test_every_entry_says_how_it_was_checked_and_the_document_is_up_to_date():
    assert all(paper.seen and paper.why for paper in PAPERS.values())
    text = (Path(__file__).parents[2] / "docs" / "references.md").read_text()
    assert text == references_markdown()
    for paper in PAPERS.values():
        assert f"*{paper.title}*" in text
        assert paper.seen in text
        assert paper.unsure in text


def test_the_papers_that_must_not_miss_are_there():
    assert {"vaswani2017", "elhage2021", "olsson2022", "meng2022", "elhage2022", "bricken2023"} <= set(PAPERS)
    assert [g.name for g in GROUPS_OF_RESEARCH] == ["Anthropic", "EleutherAI", "Redwood Research", "Google DeepMind"]
    for key, paper in PAPERS.items():
        plain = unicodedata.normalize("NFKD", paper.first).encode("ascii", "ignore").decode().replace("-", "")
        assert re.fullmatch(f"{plain.lower()}{paper.year}b?", key)
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
