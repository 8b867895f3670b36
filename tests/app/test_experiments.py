from __future__ import annotations

from contextlib import contextmanager
from time import monotonic, sleep

import gradio as gr
import numpy as np
import pytest

from head_atlas.app import experiments
from head_atlas.app.engine import Engine
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.start_tab import Shown, StartHandlers
from head_atlas.heads import HeadId
from head_atlas.live import ablate


def test_the_landing_experiment_removes_the_costliest_heads_and_a_quiet_control(engine):
    found = experiments.forgetting(engine, "small")
    with engine.use("small") as model:
        effects = np.array(
            [
                [ablate(model, experiments.FORGETTING_PROMPT, [(layer, head)]).effects["logprob"] for head in range(6)]
                for layer in range(4)
            ]
        )
    first = np.unravel_index(np.argmin(effects), effects.shape)
    assert found.removed.heads[0] == HeadId(int(first[0]), int(first[1]))
    assert len(found.removed.heads) <= experiments.MOST_REMOVED
    assert len(found.control.heads) == len(found.removed.heads)
    assert not set(found.control.heads) & set(found.removed.heads)
    control = found.control.heads[0]
    assert control.layer == found.removed.heads[0].layer
    row = [abs(effects[control.layer, h]) for h in range(6) if HeadId(control.layer, h) not in found.removed.heads]
    assert abs(effects[control.layer, control.head]) == pytest.approx(min(row), abs=1e-4)
    assert found.control.target == found.removed.target


def test_the_landing_waits_for_the_experiment_and_then_shows_it(engine, library):
    shown = Shown(engine)
    handlers = StartHandlers(library, shown)
    assert "starting" in handlers.experiment("small", {"empty": ""})[0]["empty"]
    shown.run("small")
    done, grid, _ = handlers.experiment("small", {"empty": "starting"})
    first = shown.get("small").heads[0]
    assert grid["selected"] == [first.layer, first.head]
    assert [row["kind"] for row in done["rows"]] == ["clean", "ablated", "control"]
    prompt, removed = handlers.experiment_of("small")
    assert prompt == experiments.FORGETTING_PROMPT
    assert removed


def test_the_landing_asks_until_it_shows_its_own_model(engine, library):
    shown = Shown(engine)
    shown.run("small")
    handlers = StartHandlers(library, shown)
    assert handlers.wake().active
    late = handlers.experiment("small", {"rows": [], "model": "another"})  # an answer about another model came late
    assert late[0]["model"] == "small"
    assert late[2] == gr.skip()
    panel, grid, timer = handlers.experiment("small", late[0])
    assert (panel, grid) == (gr.skip(), gr.skip())
    assert not timer.active


def test_the_landing_says_why_a_model_does_not_run(tmp_path, place):
    folder = tmp_path / "half"
    (folder / "model").mkdir(parents=True)
    (folder / "atlas.h5").write_bytes((place / "atlas.h5").read_bytes())
    library = Library.of(str(folder))
    shown = Shown(Engine(library, Limits()))
    shown.run("half")
    handlers = StartHandlers(library, shown)
    text, grid, _ = handlers.experiment("half", None)
    assert "cannot be run here" in text["empty"]
    assert "config.json" in text["empty"]
    assert grid["n_layers"] == 4


def test_a_landing_experiment_that_breaks_ends_the_waiting_and_is_tried_again(library):
    class Broken(Engine):
        ready_now = False

        @contextmanager
        def use(self, name, waiting=None):
            if not self.ready_now:
                raise MemoryError("too little")
            with super().use(name, waiting) as model:
                yield model

    engine = Broken(library, Limits())
    shown = Shown(engine)
    shown.run("small")
    assert "unexpected" in StartHandlers(library, shown).experiment("small", None)[0]["empty"]
    engine.ready_now = True
    shown.begin("small")
    end = monotonic() + 60
    while shown.get("small") is None and monotonic() < end:
        sleep(0.05)
    assert shown.get("small")


def test_a_long_landing_sweep_holds_the_model_a_step_at_a_time(library):
    class Counting(Engine):
        turns = 0

        @contextmanager
        def use(self, name, waiting=None):
            self.turns += 1
            with super().use(name, waiting) as model:
                yield model

    engine = Counting(library, Limits())
    experiments.forgetting(engine, "small")
    assert engine.turns > 4
    slow = Shown(Engine(library, Limits(run_seconds=0)))
    slow.run("small")
    assert "Stopped after 0 s" in slow.failure("small")


def test_controls_are_as_many_as_the_heads_and_of_their_layers():
    values = np.array([[0.9, 0.1, -0.05, 0.3], [0.8, 0.7, 0.2, np.nan]])
    heads = [HeadId(0, 0), HeadId(1, 0)]
    assert experiments.controls(values, heads) == [HeadId(0, 2), HeadId(1, 2)]
    assert experiments.whence(heads, [HeadId(0, 2), HeadId(1, 2)]) == "of the same layers"
    # Layer 1 has one head left: the second control comes from elsewhere, and the words say so.
    heads = [HeadId(1, 0), HeadId(1, 1)]
    found = experiments.controls(values, heads)
    assert found == [HeadId(1, 2), HeadId(0, 2)]
    assert "as far as" in experiments.whence(heads, found)


def test_a_control_is_never_a_removed_head():
    assert experiments.controls(np.array([[0.5]]), [HeadId(0, 0)]) == []
    assert experiments.controls(np.array([[0.5, 0.1, 0.2]]), [HeadId(0, 0), HeadId(0, 1)]) == []


def test_repeated_words_repeat_and_the_target_is_what_came_next():
    words, target = experiments.repeated_words(3)
    listed = words.split()
    assert listed[:4] == listed[8:]
    assert target == f" {listed[4]}"
    assert len(set(listed[:8])) == 8
    assert experiments.repeated_words(4) != (words, target)


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_words_of_the_chapter_are_whole_tokens_where_the_atlas_knows_some():
    class Record:
        family = "natural"
        strings = tuple(part for c in LETTERS for part in (f" word{c}", " lang", "uage", " of", " <b>bold", "."))

    class Random(Record):
        family = "rand_repeat"
        strings = (" chance", " tokens", " here")

    class Atlas:
        prompts = (Random(), Record())

    # " lang" is a piece of a longer word, " of" is too short, random tokens prove nothing.
    assert experiments.vocabulary(Atlas()) == tuple(f"word{c}" for c in LETTERS)
    Atlas.prompts = ()
    assert experiments.vocabulary(Atlas()) == experiments.WORDS
