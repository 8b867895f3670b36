"""The app from outside: over HTTP, through gradio_client, and as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from head_atlas.app.engine import Engine
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
from head_atlas.live import ablate

PROMPT = "The cat sat on the"


@pytest.fixture(scope="module")
def client(library):
    page, _ = build_page(library, Limits(prompt_tokens=20), Engine(library, Limits(prompt_tokens=20)))
    page.queue(max_size=4, api_open=False)
    _, url, _ = page.launch(prevent_thread_lock=True, server_name="127.0.0.1", **launch_options())
    yield Client(url, verbose=False)
    page.close()


def test_programs_see_two_documented_calls_and_no_private_event(client):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {"/ablate", "/head_scores"}
    assert not api["unnamed_endpoints"]


def test_the_public_ablation_is_the_library_ablation(client, engine):
    found = client.predict(PROMPT, "1.2, L2H5", "zero", "", " cat", api_name="/ablate")
    with engine.use("small") as model:
        expected = ablate(model, PROMPT, ["1.2", "2.5"], contrast=" cat")
    assert found["heads"] == ["1.2", "2.5"]
    assert found["contrast"] == " cat"
    assert found["effects"] == pytest.approx(expected.effects, abs=1e-4)
    assert found["top"][0]["clean"] == pytest.approx(expected.top(1)[0].clean, abs=1e-5)


def test_a_measure_without_a_value_is_null(client):
    assert client.predict(PROMPT, api_name="/ablate")["effects"]["logit_difference"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("",), "The prompt is empty"),
        (("a " * 30,), "at most 20 are possible"),
        ((PROMPT, "7.7"), "There is no head 7.7"),
        ((PROMPT, "1.1", "magic"), "must be zero or mean"),
    ],
)
def test_the_public_call_holds_the_pages_limits(client, arguments, words):
    with pytest.raises(AppError, match=words):
        client.predict(*arguments, api_name="/ablate")


def test_public_scores_are_the_atlas_scores(client, library):
    found = client.predict("L2H5", api_name="/head_scores")
    atlas = library.atlas("small")
    stored = found["scores"]["previous_token"]["natural"]
    assert stored["value"] == pytest.approx(float(atlas.summary["previous_token_natural_excess"][2, 5]))
    assert stored["kind"] == "excess"
    assert found["scores"]["diffuse"]["natural"]["kind"] == "mean"


def test_serving_and_browsing_import_no_torch(place):
    code = f"""
import sys
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
page, handlers = build_page(Library.of({str(place)!r}), Limits())
launch_options()
handlers.restore("tab=atlas&measure=logprob&family=ioi&head=2.5")
handlers.atlas.typed("small", "kl", "ioi", "zero", "1.1")
handlers.about.card("small")
print([m for m in ("torch", "transformers", "matplotlib") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_server_without_any_atlas_still_builds_its_page(tmp_path):
    library = Library.of(str(tmp_path / "gone"))
    page, handlers = build_page(library, Limits())
    assert handlers.restore("")[3]["kind"] == "error"
    assert page.config["components"]


def test_components_are_constant_html_and_data_stays_in_values(library, engine):
    # Gradio evaluates templates as JavaScript literals: a template must never depend on data.
    page, _ = build_page(library, Limits(), engine)
    templates = {c["props"]["html_template"] for c in page.config["components"] if c["type"] == "html"}
    assets = Path(sys.modules["head_atlas.app"].__file__).parent / "assets"
    fixed_texts = {path.read_text(encoding="utf-8") for path in assets.glob("*.html")}
    for template in templates - fixed_texts:
        assert "${" not in template
        assert "{{" not in template
        assert len(template) < 400
