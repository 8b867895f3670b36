"""The app from outside: over HTTP, through gradio_client, and as a process."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_atlas import flip_bits, synthetic_contents

from head_atlas.app.learn_tab import NAMES
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
from head_atlas.app.server import KEPT_SECONDS, keep_connections
from head_atlas.named_array import NamedArray
from head_atlas.store import write_atlas


def test_serving_and_browsing_import_no_torch(place):
    code = f"""
import sys
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
library = Library.of({str(place)!r})
page, handlers = build_page(library, Limits())
launch_options(library)
handlers.restore("tab=atlas&measure=logprob&family=ioi&head=2.5", "small")
handlers.atlas.typed("small", "kl", "ioi", "zero", "1.1")
handlers.about.card("small")
print([m for m in ("torch", "transformers", "matplotlib") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_server_without_any_atlas_still_builds_its_page(tmp_path):
    library = Library.of(str(tmp_path / "gone"))
    page, handlers = build_page(library, Limits())
    assert handlers.restore("", "gone")[3]["kind"] == "error"
    assert page.config["components"]


@pytest.mark.parametrize("seconds", [0, KEPT_SECONDS])
def test_an_idle_connection_stays_open_for_as_long_as_it_was_told(library, seconds):
    page, _ = build_page(library, Limits())
    page.launch(prevent_thread_lock=True, server_name="127.0.0.1", **launch_options(library))
    try:
        keep_connections(page, seconds)
        with socket.create_connection(("127.0.0.1", page.server_port), timeout=60) as connection:
            answers = connection.makefile("rb")

            def asked():
                connection.sendall(b"GET /embed/card.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                status = answers.readline()
                fields = dict(line.lower().split(b": ") for line in iter(answers.readline, b"\r\n"))
                answers.read(int(fields[b"content-length"]))
                return status.split()[1]

            assert asked() == b"200"
            if seconds:
                assert asked() == b"200"
            else:
                assert answers.read() == b""  # the server has closed it
    finally:
        page.close()


def damaged(folder, change):
    """A folder with an atlas from which `change` takes something away."""
    folder.mkdir()
    contents = synthetic_contents(4, 6, n_prompts=4)
    summary = contents.group("summary")
    change(summary)
    kept = {place: array for place, array in contents.arrays.items() if not place.startswith("summary/")}
    arrays = kept | {f"summary/{name}": array for name, array in summary.items()}
    write_atlas(folder / "atlas.h5", dataclasses.replace(contents, arrays=arrays))
    return Library.of(str(folder))


def without(*words):
    def change(summary):
        for name in [name for name in summary if any(word in name for word in words)]:
            del summary[name]

    return change


def all_nan(summary):
    for name in [name for name in summary if name.startswith("induction")]:
        old = summary[name]
        if np.issubdtype(old.values.dtype, np.floating):
            summary[name] = NamedArray(np.full(old.shape, np.nan), old.dims)


@pytest.mark.parametrize(
    "change",
    [
        all_nan,
        without("_excess"),
        without("_ci_low"),
        without("_n"),
        without("_macro"),
        without("kl_", "logprob_", "logit_difference_", "flip_", "log2_rank_"),
        without("induction", "duplicate", "previous", "current", "sink", "diffuse"),
        without("_"),
    ],
)
def test_a_partial_atlas_serves_what_it_holds(tmp_path, change):
    library = damaged(tmp_path / "partial", change)
    _, handlers = build_page(library, Limits())
    json.dumps(handlers.atlas.outputs(handlers.atlas.view("partial", "", "", "", "")), default=str)
    for view in ("map", "scatter", "find"):
        further = ["", view, "", "", "", "", ""]
        head, note, _, headline, _, page = handlers.atlas.picked("partial", "", "", "", *further, {"selected": [1, 2]})
        assert (head, note) == ("1.2", None)
        assert ("heads" in headline) == ("pages" in json.loads(page))
    for name in NAMES:
        json.dumps(handlers.learn.opened("partial", name), default=str)
    handlers.start.grid("partial")
    handlers.lab.induction("partial", "atlas", None)
    handlers.about.card("partial")


def test_an_atlas_without_effects_shows_a_page_of_scores(tmp_path):
    library = damaged(tmp_path / "scores", without("kl_", "logprob_", "logit_difference_", "flip_", "log2_rank_"))
    _, handlers = build_page(library, Limits())
    page = handlers.atlas.picked("scores", "induction", "", "", {"selected": [1, 2]})[5]
    breaks, looks, *_ = json.loads(page)["pages"][0]["groups"]
    assert "without removing heads" in breaks["sections"][0]["text"]
    assert looks["sections"][0]["kind"] == "bars"


def test_an_atlas_with_damaged_prompts_still_builds_its_page(tmp_path, place):
    path = tmp_path / "flipped" / "atlas.h5"
    path.parent.mkdir()
    path.write_bytes((place / "atlas.h5").read_bytes())
    flip_bits(path, "corpus/token_id", bits=0xFF)
    library = Library.of(str(path.parent))
    _, handlers = build_page(library, Limits())
    assert "the prompts are damaged" in handlers.about.card("flipped")["empty"]
    assert handlers.atlas.view("flipped", "", "", "", "").grid["n_heads"] == 6
    assert "the prompts are damaged" in handlers.learn.setup("flipped", "induction", 1)["empty"]
    assert handlers.take_chapter("flipped", "induction", 1, "atlas")[0] == "lab"
    handlers.lab.induction("flipped", "atlas", None)
    handlers.lab.grid("flipped", "", "atlas", None)


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
