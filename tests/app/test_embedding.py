from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from full_atlas import full_contents
from starlette.applications import Starlette
from starlette.testclient import TestClient

from head_atlas.app import embedding
from head_atlas.app.library import Library
from head_atlas.app.page_state import read_query
from head_atlas.store import write_atlas

ASSETS = Path(embedding.__file__).parent / "assets"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full") / "full"
    folder.mkdir()
    write_atlas(folder / "atlas.h5", full_contents())
    return TestClient(Starlette(routes=embedding.embed_routes(Library.of(str(folder)))))


def test_the_card_page_is_constant_and_runs_nothing_but_its_own_script(client):
    page = client.get("/", params={"embed": "1", "model": "full", "head": "1.2"})
    hostile = client.get("/", params={"embed": "1", "model": "<script>", "head": "${alert(1)}"})
    assert page.status_code == 200
    assert page.text == hostile.text == (ASSETS / "embed.html").read_text()
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors" not in policy
    assert "unsafe" not in policy
    assert "x-frame-options" not in page.headers
    assert not re.search(r"<script>|style=|\son[a-z]+=", page.text)
    for path in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert client.get(f"/{path}").status_code == 200


@pytest.mark.parametrize("query", ["", "embed=0", "head=1.2", "embed=11", "x=embed=1"])
def test_any_other_address_is_left_to_the_app(client, query):
    assert client.get(f"/?{query}").status_code == 404


def test_the_card_holds_the_sentence_roles_with_grades_and_effects_with_intervals(client):
    found = client.get("/embed/head.json", params={"model": "full", "head": "1.2"}).json()
    assert found["title"] == "L1H2"
    assert found["sentence"]
    roles, effects, distances = found["sections"]
    assert roles["kind"] == "roles"
    assert all({"grade", "word", "numbers"} <= set(grade) for role in roles["roles"] for grade in role["grades"])
    assert effects["kind"] == "forest"
    assert effects["columns"][3:] == ["95 % interval", "n"]
    assert all(len(row["cells"]) == 3 for row in effects["rows"])
    assert distances["title"] == "How far back"
    assert "sha256" in found["from"]


def test_the_link_opens_the_same_head(client):
    found = client.get("/embed/head.json", params={"model": "full", "head": "L1H2"}).json()
    state, problems = read_query(found["query"])
    assert problems == []
    assert (state.tab, state.model, state.head) == ("atlas", "full", "1.2")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"model": "full", "head": "9.9"}, "There is no head 9.9"),
        ({"model": "full"}, "Expected a head"),
        ({"model": "../../etc", "head": "0.0"}, "is served here"),
        ({"model": "full", "head": "0.0", "mode": "<b>"}, "no ablation mode"),
        ({"model": "full", "head": "1" * 500}, "too long"),
    ],
)
def test_a_card_that_cannot_be_had_is_a_sentence(client, query, words):
    answer = client.get("/embed/head.json", params=query)
    assert answer.status_code == 404
    assert words in answer.json()["empty"]


def test_an_atlas_that_proves_damaged_is_a_sentence_too(tmp_path):
    """Its file was cut short after it was opened: the card's numbers cannot be read."""
    (tmp_path / "full").mkdir()
    path = tmp_path / "full" / "atlas.h5"
    write_atlas(path, full_contents())
    library = Library.of(str(path.parent))
    library.atlas("full")
    os.truncate(path, 4096)
    status, found = embedding.embedded_head(library, {"model": "full", "head": "1.2"})
    assert status == 404
    assert "cannot be read" in found["empty"]
