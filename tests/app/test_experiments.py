from __future__ import annotations

import numpy as np
import pytest

from head_atlas.app import experiments
from head_atlas.app.learn_tab import LearnHandlers
from head_atlas.app.library import Library
from head_atlas.app.start_tab import Shown, StartHandlers
from head_atlas.heads import HeadId
from head_atlas.live import ablate


def test_the_landing_experiment_removes_the_costliest_heads_and_a_quiet_control(engine):
    with engine.use("small") as model:
        found = experiments.forgetting(model)
        effects = np.array(
            [
                [ablate(model, experiments.FORGETTING_PROMPT, [(layer, head)]).effects["logprob"] for head in range(6)]
                for layer in range(4)
            ]
        )
    first = np.unravel_index(np.argmin(effects), effects.shape)
    assert found.removed.heads[0] == HeadId(int(first[0]), int(first[1]))
    assert len(found.removed.heads) <= experiments.MOST_REMOVED
    (control,) = found.control.heads
    assert control.layer == found.removed.heads[0].layer
    row = [abs(effects[control.layer, h]) for h in range(6) if HeadId(control.layer, h) not in found.removed.heads]
    assert abs(effects[control.layer, control.head]) == pytest.approx(min(row), abs=1e-4)
    assert found.control.target == found.removed.target


def test_the_landing_waits_for_the_experiment_and_then_shows_it(engine, library):
    shown = Shown(engine)
    handlers = StartHandlers(library, shown)
    waiting = handlers.experiment("small", patience=0)
    assert "starting" in next(waiting)[0]["empty"]
    shown.run("small")
    ((done, grid),) = list(handlers.experiment("small"))
    first = shown.get("small").heads[0]
    assert grid["selected"] == [first.layer, first.head]
    assert [row["kind"] for row in done["rows"]] == ["clean", "ablated", "control"]
    prompt, removed = handlers.experiment_of("small")
    assert prompt == experiments.FORGETTING_PROMPT
    assert removed


def test_the_landing_says_why_a_model_does_not_run(tmp_path, place):
    from head_atlas.app.engine import Engine
    from head_atlas.app.limits import Limits
    from head_atlas.errors import ModelError

    folder = tmp_path / "half"
    (folder / "model").mkdir(parents=True)
    (folder / "atlas.h5").write_bytes((place / "atlas.h5").read_bytes())
    library = Library.of(str(folder))
    shown = Shown(Engine(library, Limits()))
    with pytest.raises(ModelError):
        shown.run("half")
    handlers = StartHandlers(library, shown)
    assert "cannot be run here" in list(handlers.experiment("half"))[-1][0]["empty"]
    assert handlers.grid("half")["n_layers"] == 4


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


def test_the_chapter_removes_induction_heads_and_a_control_of_their_layer(engine, library):
    handlers = LearnHandlers(engine)
    heads, control = handlers.chosen("small")
    excess = library.atlas("small").summary["induction_excess"].values
    assert [excess[h.layer, h.head] for h in heads] == sorted((excess[h.layer, h.head] for h in heads), reverse=True)
    assert control not in heads
    assert control.layer == heads[0].layer


def test_the_chapter_asks_for_a_prediction_first_and_then_judges_it(engine):
    handlers = LearnHandlers(engine)
    ((note, _),) = list(handlers.run("small", 0, None))
    assert "prediction" in note["text"]
    *_, (note, result) = handlers.run("small", 0, "gone")
    assert note is None
    assert [row["kind"] for row in result["rows"]] == ["clean", "ablated", "control"]
    assert result["target"] == "·" + handlers.words("small", 0)[1].strip()
    assert result["verdict"]


def test_the_chapters_numbers_are_the_ablations(engine):
    handlers = LearnHandlers(engine)
    *_, (_, result) = handlers.run("small", 2, "same")
    words, target = handlers.words("small", 2)
    heads, control = handlers.chosen("small")
    with engine.use("small") as model:
        without = ablate(model, words, heads, target=model.policy.pieces_of(target)[0])
    assert result["rows"][1]["w"] == pytest.approx(float(np.exp(without.ablated_log_probs[without.target])), abs=1e-5)
    assert control.label in result["rows"][2]["label"]
