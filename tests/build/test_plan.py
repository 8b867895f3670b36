from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from head_atlas.build.measurement import Corpus
from head_atlas.build.measurements import MEASUREMENTS
from head_atlas.build.plan import PROMPTS_PER_UNIT, make_plan
from head_atlas.catalogue import EFFECTS, SCORES, WITHOUT_EFFECTS
from head_atlas.measures.effects import METRICS
from head_atlas.measures.targets import TARGETS
from head_atlas.prompts.prompt import Prompt


def prompts(family, n, length=10):
    return [
        Prompt(f"{family} {i}", tuple(range(length)), (length - 1,), (1,), family=family, template=i % 3)
        for i in range(n)
    ]


FAMILIES = {
    "rand_repeat": prompts("rand_repeat", 300, 40),
    "rand_flat": prompts("rand_flat", 5),
    "ioi": prompts("ioi", 130),
}


REFERENCE = prompts("natural", 4, 20)
RESAMPLE = prompts("natural", 5, 40)


def plan(families=FAMILIES, reference=REFERENCE, resample=RESAMPLE, left_out=None, **changes):
    options = {"kinds": ("scores", "zero", "mean"), "n_layers": 12, "n_heads": 12, "config": {"seed": 0}}
    corpus = Corpus(families, reference, resample, {"fact": "why"} if left_out is None else left_out)
    return make_plan(corpus, **(options | changes))


def test_every_prompt_is_in_one_unit_of_each_kind_it_is_measured_by():
    p = plan()
    assert len(p.prompts) == 435
    for kind in ("scores", "zero", "mean"):
        covered = np.zeros(len(p.prompts), dtype=int)
        for unit in p.units:
            if unit.kind == kind:
                covered[unit.start : unit.stop] += 1
                assert {x.family for x in p.prompts[unit.start : unit.stop]} == {unit.family}
        for index, prompt in enumerate(p.prompts):
            measured = prompt.family != "ioi" if kind == "scores" else prompt.family not in WITHOUT_EFFECTS
            assert covered[index] == measured


def test_units_are_small_unique_and_in_order_of_need():
    p = plan()
    names = [unit.name for unit in p.units]
    assert len(set(names)) == len(names)
    assert names[0].startswith("reference-")
    assert all(unit.stop - unit.start <= PROMPTS_PER_UNIT for unit in p.units[1:])
    # 300 prompts of 40 tokens and 144 heads are 1.7 million head-tokens: more than a few minutes
    assert sum(unit.kind == "zero" and unit.family == "rand_repeat" for unit in p.units) >= 6
    assert all(unit.work > 0 for unit in p.units)


def test_the_configuration_knows_prompts_modes_and_facts():
    same = plan().config_sha256
    assert plan().config_sha256 == same
    assert plan(config={"seed": 1}).config_sha256 != same
    assert plan(kinds=("zero",)).config_sha256 != same
    assert plan(left_out={"fact": "another reason"}).config_sha256 != same
    assert plan(reference=prompts("natural", 5, 20)).config_sha256 != same
    fewer = {**FAMILIES, "ioi": FAMILIES["ioi"][:-1]}
    assert plan(families=fewer).config_sha256 != same


def test_what_is_not_asked_for_is_named():
    p = plan(kinds=("zero",))
    assert p.left_out["weights"] == p.left_out["mean"] == "not asked for in this build"
    assert "zero" not in p.left_out


def test_mean_mode_without_reference_is_left_out_and_named():
    p = plan(reference=())
    assert p.modes == ("zero",)
    assert not any(unit.kind in ("mean", "reference") for unit in p.units)
    assert "needs the natural family" in p.left_out["mean"]
    assert p.left_out["fact"] == "why"


def test_scores_without_their_family_are_left_out_and_named():
    p = plan()
    assert "measured on natural" in p.left_out["diffuse"]
    assert "previous_token" not in p.left_out  # rand_flat is there


def test_the_catalogue_names_exactly_what_is_measured():
    assert set(EFFECTS) == set(METRICS)
    assert {name for name, score in SCORES.items() if score.has_excess} == set(TARGETS)


def test_an_empty_family_makes_no_unit():
    p = plan(families={"ioi": []})
    assert [unit.kind for unit in p.units] == ["reference"]


def test_every_registered_measurement_has_units_of_its_own():
    whole = [replace(prompt, contrasts=(2,), corrupted=prompt.tokens) for prompt in prompts("ioi", 3)]
    families = {"natural": prompts("natural", 3), "syntax": prompts("syntax", 3), "ioi": whole}
    p = plan(families=families, kinds=tuple(MEASUREMENTS), left_out={})
    for kind, measurement in MEASUREMENTS.items():
        assert measurement.kind == kind
        assert measurement.mode in ("", kind)
    assert {unit.kind for unit in p.units} == {"reference", *MEASUREMENTS}


def test_resample_mode_without_enough_prompts_is_left_out_and_named():
    p = plan(kinds=("resample",), resample=RESAMPLE[:4])
    assert p.modes == ()
    assert p.resample_prompts == ()
    assert "needs 5 natural prompts that are not measured" in p.left_out["resample"]
    assert len(plan(kinds=("resample",)).resample_prompts) == 5


def test_what_no_prompt_can_be_asked_is_left_out_and_named():
    """Random tokens have no right answer, and these have no corrupted version."""
    p = plan(families={"rand_flat": prompts("rand_flat", 3)}, kinds=("neurons", "zero", "direct_logit", "scores"))
    assert {unit.kind for unit in p.units} == {"reference", "scores"}
    assert p.modes == ()
    for kind in ("neurons", "zero", "direct_logit"):
        assert "none of the prompts in this atlas" in p.left_out[kind]
    p = plan(families={"ioi": prompts("ioi", 3)}, kinds=("zero", "pattern_freeze"))
    assert p.modes == ("zero",)
    assert "none of the prompts in this atlas" in p.left_out["pattern_freeze"]


def test_patterns_are_frozen_only_where_there_is_a_corrupted_prompt():
    whole = prompts("ioi", 3)
    half = [replace(prompt, corrupted=prompt.tokens if index else ()) for index, prompt in enumerate(whole)]
    kinds = ("zero", "pattern_freeze", "resample_corrupted")
    units = plan(families={"ioi": half, "fact": prompts("fact", 3)}, kinds=kinds).units
    for kind in kinds[1:]:
        assert [unit.family for unit in units if unit.kind == kind] == ["ioi"]
    blocks = [next((unit.start, unit.stop) for unit in units if unit.kind == kind) for kind in kinds]
    assert blocks == [(0, 3)] * 3


@pytest.mark.parametrize("n", [1, 127, 128, 129])
def test_blocks_of_small_models_hold_up_to_128_prompts(n):
    p = plan(families={"ioi": prompts("ioi", n)}, n_layers=1, n_heads=1)
    sizes = [unit.stop - unit.start for unit in p.units if unit.kind == "zero"]
    assert sizes == ([n] if n <= 128 else [128, n - 128])
