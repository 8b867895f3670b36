"""A whole small build of a tiny model: what is in the atlas is what the library measures."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from itertools import chain

import numpy as np
import pytest
from small_build import OPTIONS, SMALL, silent
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import head_atlas.build.parts as parts
import head_atlas.build.runner as runner
from head_atlas.build import BuildOptions, build_atlas, parts_folder, plan_atlas
from head_atlas.build.parts import Parts
from head_atlas.build.units import EFFECT_MODES
from head_atlas.catalogue import ABLATION_MODES, EFFECTS, SCORES, WITHOUT_EFFECTS
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.errors import BuildError, PromptError
from head_atlas.interventions import CORRUPTED, MeanReference, budget_for, resample_reference
from head_atlas.measures.effects import sweep
from head_atlas.measures.patterns import pattern_scores
from head_atlas.models import HeadModel, load_model
from head_atlas.prompts.families import FAMILIES, build_families
from head_atlas.prompts.families.natural import RESERVED, paragraphs
from head_atlas.prompts.families.syntax import SENTENCES_PER_PROMPT
from head_atlas.prompts.prompt import Prompt
from head_atlas.store import open_atlas

PARTS = ("mean", "ci_low", "ci_high", "n")


def test_sizes_families_and_prompts(atlas, model):
    assert (atlas.n_layers, atlas.n_heads) == (model.n_layers, model.n_heads)
    assert atlas.families == OPTIONS.families
    assert atlas.modes == ["zero", "mean", "resample", "pattern_freeze", "resample_corrupted"]
    built = build_families(model.policy, n_prompts=6, seed=0, only=OPTIONS.families, natural_length=40)
    for record, prompt in zip(atlas.prompts, chain(*built.prompts.values()), strict=True):
        assert (record.tokens, record.targets, record.family) == (prompt.tokens, prompt.targets, prompt.family)
        assert record.strings == tuple(model.strings(prompt.tokens))


def stand_in(atlas, model, mode):
    """The reference that the atlas gives for a mode."""
    if mode == "mean":
        return MeanReference(*atlas.mean_reference())
    if mode == "resample":
        tokens, source, seed = atlas.resample_prompts()
        prompts = [Prompt("", tuple(row), (1,), (0,)) for row in tokens.tolist()]
        return resample_reference(model, prompts, source, n_draws=len(prompts), seed=seed)
    return None


@pytest.mark.parametrize("mode", ["zero", "mean", "resample", "pattern_freeze"])
def test_effects_are_those_of_a_live_sweep(atlas, model, mode):
    for family in ("ioi", "natural", "rand_repeat"):
        records = [p for p in atlas.prompts if p.family == family]
        live = sweep(model, records, mode, reference=stand_in(atlas, model, mode))
        for metric in EFFECTS:
            stored = atlas.effects[metric].sel(mode=mode).values[..., [p.index for p in records]]
            expected = np.moveaxis(live[metric].values, 0, -1)
            np.testing.assert_allclose(stored, expected, rtol=1e-3, atol=2e-6, err_msg=metric)
        for name, values in live.clean.items():
            np.testing.assert_allclose(
                atlas.clean[name].values[[p.index for p in records]], values.values, rtol=1e-5, atol=1e-6
            )


def test_resampling_by_the_corrupted_prompt_is_that_of_a_live_sweep_and_nan_without_one(atlas, model):
    stored = atlas.effects["logit_difference"].sel(mode="resample_corrupted").values
    records = [p for p in atlas.prompts if p.family == "ioi" and p.corrupted]
    live = sweep(model, records, "resample", reference=CORRUPTED)["logit_difference"].values
    found = stored[..., [p.index for p in records]]
    np.testing.assert_allclose(found, np.moveaxis(live, 0, -1), rtol=1e-3, atol=2e-6)
    others = atlas.effects["logit_difference"].sel(mode="resample").values[..., [p.index for p in records]]
    assert not np.allclose(found, others, rtol=1e-2)
    without = [p.index for p in atlas.prompts if not p.corrupted]
    assert without
    assert np.isnan(stored[..., without]).all()


def test_scores_are_those_of_the_measure_and_only_on_their_families(atlas, model):
    for name in set(atlas.scores) & set(SCORES) - {"positional"}:
        for family in set(atlas.families) - {"sink_probe"}:
            records = [p for p in atlas.prompts if p.family == family]
            stored = atlas.scores[name].values[..., [p.index for p in records]]
            if family in SCORES[name].families:
                live = pattern_scores(model, records, [name])
                np.testing.assert_allclose(stored, live.values[name], rtol=1e-3, atol=1e-6)
            else:
                assert np.isnan(stored).all()
    assert set(atlas.scores) == set(SCORES) - {"offsets"} | set(NAMED_PARTS)


def test_nothing_is_ablated_where_there_is_no_right_answer(atlas):
    flat = [p.index for p in atlas.prompts if p.family == "rand_flat"]
    for metric in EFFECTS:
        assert np.isnan(atlas.effects[metric].values[..., flat]).all()
        assert (atlas.summary[f"{metric}_n"].sel(family="rand_flat").values == 0).all()
    natural = [p.index for p in atlas.prompts if p.family == "natural"]
    assert np.isnan(atlas.effects["logit_difference"].values[..., natural]).all()
    assert np.isfinite(atlas.effects["kl"].values[..., natural]).all()


def test_summaries_are_means_over_prompts_with_intervals_around_them(atlas):
    s = atlas.summary
    ioi = [p.index for p in atlas.prompts if p.family == "ioi"]
    expected = atlas.effects["logprob"].sel(mode="mean").values[..., ioi].mean(-1)
    found = s["logprob_mean"].sel(mode="mean", family="ioi").values
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    low, high = (s[f"logprob_{end}"].sel(mode="mean", family="ioi").values for end in ("ci_low", "ci_high"))
    assert ((low <= found) & (found <= high)).all()
    assert (low < high).all()
    assert (s["logprob_n"].sel(mode="mean", family="ioi").values == 6).all()
    macro = np.nanmean(s["logprob_mean"].values, axis=-1)
    np.testing.assert_allclose(s["logprob_macro"].values, macro, rtol=1e-5)
    low, high = s["logprob_macro_ci_low"].values, s["logprob_macro_ci_high"].values
    assert ((low < macro) & (macro < high)).all()
    assert (s["logprob_macro_n"].sel(mode="mean").values == 5).all()  # all but rand_flat and sink_probe
    assert (s["logit_difference_macro_n"].sel(mode="mean").values == 3).all()  # nor natural and syntax
    for part in ("", "_ci_low", "_ci_high", "_n"):
        assert s[f"logprob_macro{part}"].dims == ("mode", "layer", "head")


def test_clean_performance_has_intervals_and_sizes(atlas):
    s = atlas.summary
    for place, family in enumerate(atlas.families):
        values = atlas.clean["logprob"].values[[p.index for p in atlas.prompts if p.family == family]]
        low, mean, high, n = (s[f"clean_logprob{part}"].values[place] for part in ("_ci_low", "", "_ci_high", "_n"))
        if family in WITHOUT_EFFECTS:
            assert n == 0
            assert np.isnan([low, mean, high]).all()
        else:
            assert n == len(values) == (6 * SENTENCES_PER_PROMPT if family == "syntax" else 6)
            assert mean == pytest.approx(values.mean(), rel=1e-5)
            assert low < mean < high


def test_excess_is_that_of_the_means(atlas):
    for name, prefix, family in (
        ("induction", "induction", "rand_repeat"),
        ("sink", "sink", "rand_flat"),
        ("sink", "sink_natural", "natural"),
    ):
        index = [p.index for p in atlas.prompts if p.family == family]
        mass = atlas.scores[name].values[..., index].mean(-1)
        uniform = atlas.baselines[name].values[..., index].mean(-1)[:, None]
        np.testing.assert_allclose(
            atlas.summary[f"{prefix}_excess"].values, (mass - uniform) / (1 - uniform), rtol=2e-3, atol=2e-4
        )
        assert (atlas.summary[f"{prefix}_n"].values == 6).all()
    assert "diffuse_excess" not in atlas.summary


def test_the_contract_of_names(atlas):
    expected = set()
    for score in ((SCORES | NAMED_PARTS)[name] for name in atlas.scores):
        for family in score.families:
            prefix = score.summary_prefix(family)
            expected |= {f"{prefix}_{part}" for part in (*PARTS, "split_half")}
            if score.has_excess:
                expected |= {f"{prefix}_{part}" for part in ("excess", "excess_ci_low", "excess_ci_high")}
    for metric in EFFECTS:
        expected |= {f"{metric}_{part}" for part in PARTS}
        for name in (metric, f"{metric}_correct"):
            expected |= {f"{name}_{part}" for part in PARTS}
            expected |= {f"{name}_macro{part}" for part in ("", "_ci_low", "_ci_high", "_n")}
            if metric not in ("kl", "flip"):
                expected |= {f"{name}_p", f"{name}_q"}
        for among in ("model", "layer"):
            expected |= {f"{metric}_percentile_{among}", f"{metric}_macro_percentile_{among}"}
    for name in ("logprob", "logit_difference", "log2_rank", "correct"):
        expected |= {f"clean_{name}{part}" for part in ("", "_ci_low", "_ci_high", "_n")}
    expected |= {
        f"{name}_{part}" for name in ("direct_logit", "induction_copy") for part in (*PARTS, "p", "split_half")
    }
    assert set(atlas.summary) == expected | {"sink_by_start", "positional_offset"}


def test_provenance_says_where_every_number_comes_from(atlas, model):
    found = atlas.provenance
    assert found["model_fingerprint"] == model.fingerprint
    assert found["bos_policy"] == "bos"
    assert re.fullmatch("[0-9a-f]{64}", found["config_sha256"])
    assert found["packages"]["torch"]
    assert found["windows"] == [None, None]
    assert (found["seed"], found["dtype"], found["threads"]) == (0, "float32", 1)
    assert found["budget"] == asdict(budget_for(model))
    assert {check["name"] for check in atlas.checks} == {check.name for check in model.checks}
    z, source, n_tokens = atlas.mean_reference()
    assert z.shape == (2, model.n_layers, model.n_heads, model.d_head)
    assert source.startswith("natural family: 100 prompts")
    assert n_tokens == 100 * 39


def test_the_profile_by_distance_is_a_mean_over_natural_prompts(atlas, model):
    records = [p for p in atlas.prompts if p.family == "natural"]
    live = pattern_scores(model, records, ["offsets"]).offsets
    bins = atlas.offsets.coords["bin"]
    found = atlas.offsets.values
    assert np.isnan(found[..., bins.index("64+")]).all()  # prompts of 40 tokens
    kept = [i for i, name in enumerate(bins) if name != "64+"]
    np.testing.assert_allclose(found[..., kept], live[:, :, kept].mean(-1), rtol=1e-4)


def test_shards_stay_or_go(path, model, tmp_path):
    assert len(list(parts_folder(path).glob("*.h5"))) == len(plan_atlas(model, OPTIONS).units)
    out = build_atlas(model, tmp_path / "x.h5", SMALL, silent)
    build_atlas(model, out, SMALL, silent, keep_shards=False)
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]


def test_a_build_that_is_stopped_and_resumed_is_equal_byte_for_byte(path, model, tmp_path, monkeypatch):
    out = tmp_path / "atlas.h5"
    plan = plan_atlas(model, OPTIONS)
    done = []
    plain = runner.run_unit

    def stop_at_the_fifth(unit, *args):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(unit.name)
        return plain(unit, *args)

    monkeypatch.setattr(runner, "run_unit", stop_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        build_atlas(model, out, OPTIONS, silent)
    assert not out.exists()
    assert len(list(parts_folder(out).glob("*.h5"))) == 4
    damaged = Parts(parts_folder(out), plan).path(plan.units[2])
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (parts_folder(out) / ".left-by-a-kill.tmp").write_bytes(b"half")
    (tmp_path / ".atlas.h5.0123abcd.tmp").write_bytes(b"half an atlas")
    (tmp_path / ".other.h5.0123abcd.tmp").write_bytes(b"of another build")

    again, said = [], []
    monkeypatch.setattr(runner, "run_unit", lambda unit, *args: again.append(unit.name) or plain(unit, *args))
    build_atlas(model, out, OPTIONS, said.append, keep_shards=False)
    assert again == [unit.name for unit in plan.units if unit.name not in done or unit.name == done[2]]
    assert said[:2] == [
        f"shard {damaged.name} is damaged; its unit is measured again",
        f"going on: 3 of {len(plan.units)} units are done",
    ]
    assert out.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.h5.0123abcd.tmp", "atlas.h5"]


def test_a_finished_atlas_is_not_measured_again_nor_overwritten(path, model, tmp_path, monkeypatch):
    out = tmp_path / "atlas.h5"
    out.write_bytes(path.read_bytes())
    said, measured = [], []
    plain = runner.run_unit
    monkeypatch.setattr(runner, "run_unit", lambda unit, *args: measured.append(unit.name) or plain(unit, *args))
    build_atlas(model, out, OPTIONS, said.append)
    assert said == ["atlas.h5 is already the atlas of this configuration; delete it to write it again"]
    with pytest.raises(BuildError, match=r"is the atlas of another configuration, and atlas\.h5\.parts"):
        build_atlas(model, out, SMALL, said.append)
    assert out.read_bytes() == path.read_bytes()
    out.write_bytes(b"a letter to a friend")
    with pytest.raises(BuildError, match="cannot be read as an atlas"):
        build_atlas(model, out, SMALL, said.append)
    assert out.read_bytes() == b"a letter to a friend"
    assert measured == []
    assert [p.name for p in tmp_path.iterdir()] == ["atlas.h5"]


def test_a_shard_that_vanishes_before_the_merge_is_an_error_and_no_atlas(model, tmp_path, monkeypatch):
    out = tmp_path / "atlas.h5"
    monkeypatch.setattr(parts, "write_shard", lambda *_, **__: None)
    with pytest.raises(BuildError, match="missing or damaged"):
        build_atlas(model, out, SMALL, silent)
    assert not out.exists()


def test_a_model_that_knows_more_than_stories_is_measured_on_the_paragraphs(model_folder):
    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    letters.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    loaded = load_model(model_folder, device="cpu").model
    other = HeadModel(loaded, PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="!"))
    plan = plan_atlas(other, replace(OPTIONS, families=["natural", "rand_flat"]))
    assert re.fullmatch(
        r"natural family: 100 prompts, the paragraphs of head_atlas \(sha256 [0-9a-f]{16}\), seed 0",
        plan.config["reference_source"],
    )
    assert plan.config["natural_source"] in plan.config["resample_source"]
    starts = {text[:30] for text in paragraphs()[:-RESERVED]}
    assert {p.text[:30] for p in plan.reference_prompts} == starts
    assert {p.text[:30] for p in plan.prompts if p.family == "natural"} < starts
    assert len(plan.resample_prompts) == 5
    assert not {p.text[:30] for p in plan.resample_prompts} & starts


def test_every_mode_is_described():
    assert set(ABLATION_MODES) == set(EFFECT_MODES)


def test_all_families_plan(model):
    plan = plan_atlas(model, BuildOptions(n_prompts=2))
    assert set(plan.families) | set(plan.left_out) >= set(FAMILIES)
    with pytest.raises(PromptError, match="unknown family"):
        plan_atlas(model, BuildOptions(families=["nosuch"]))


@pytest.mark.filterwarnings("error")
def test_prompts_without_an_answer_alone_make_an_atlas(model, tmp_path):
    options = BuildOptions(families=["rand_flat"], n_prompts=2, natural_length=40, threads=1)
    with open_atlas(build_atlas(model, tmp_path / "flat.h5", options, silent)) as atlas:
        assert atlas.modes == []
        assert "previous_token" in atlas.scores
        assert {"neurons", "zero", "direct_logit", "exemplars_text"} <= set(atlas.left_out)
