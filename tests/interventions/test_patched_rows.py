"""Patches do what hooks on whole runs do, and all of the other run is the other run."""

from __future__ import annotations

import itertools

import pytest
import torch

import naive_opt
from head_atlas.errors import HeadAtlasError, PromptError, UnsupportedModelError
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.patching import OF_HEADS, PLACES, Patches, Site, patched_rows
from head_atlas.interventions.recording import aligned, record
from head_atlas.models.readers import StreamReader
from tiny_models import CONFIGS, IGNORING, TOKENIZER, HeadModel, head_model, tolerance

TOKENS = torch.tensor([[0, 5, 9, 200, 7, 5, 9, 31, 90, 12, 44, 3], [0, 8, 8, 1, 7, 2, 300, 31, 2, 12, 4, 30]])
READ = torch.tensor([[11, 6], [11, 6]])


def both(model, **kept):
    whole = record(model, TOKENS, READ, **kept)
    return whole.row(0), whole.row(1)


def patched(model, base, source, sites, **budget):
    """Logits of each site, in the order of the sites."""
    found = {}
    for block in patched_rows(model, base, source, sites, READ[:1], **budget):
        found |= dict(zip(block.sites, block.logits[:, 0], strict=True))
    return torch.stack([found[i] for i in range(len(sites))])


@pytest.mark.parametrize("family", CONFIGS)
def test_the_first_layers_whole_input_is_the_whole_other_run(family):
    model = head_model(family)
    one, other = both(model)
    found = patched(model, one, other, [Site("resid_pre", (0,))])
    torch.testing.assert_close(found[0], other.logits[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(one.logits, other.logits, atol=1e-2)


@pytest.mark.parametrize("family", CONFIGS)
def test_all_that_is_written_is_the_other_runs_stream_on_the_own_embedding(family):
    """With every attention and MLP output patched: x_final = x_0 + (x_final' - x_0'), exactly."""
    model = head_model(family)
    one, other = both(model, mlps=True)
    every = tuple(range(model.n_layers))
    found, theirs = StreamReader(), StreamReader()
    patches = [Patches(model, other, [Site(place, every)]) for place in ("attn_out", "mlp_out")]
    with model.intervening(*patches, found):
        model.logits(TOKENS[:1])
    with model.intervening(theirs):
        model.logits(TOKENS[1:])
    expected = one.inputs[0] + theirs.streams[-1] - theirs.streams[0]
    torch.testing.assert_close(found.streams[-1], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", CONFIGS)
def test_an_attention_output_is_z_of_all_its_heads(family):
    model = head_model(family)
    one, other = both(model)
    found = patched(model, one, other, [Site("attn_out", (1,), None, (9,)), Site("z", (1,), (0, 1, 2, 3), (9,))])
    assert torch.equal(found[0], found[1])
    assert (found[0] - one.logits[0])[0].abs().max() > 1e-4


@pytest.mark.parametrize("place", PLACES)
def test_every_site_is_what_hooks_on_whole_runs_give(place):
    model = HeadModel(naive_opt.plain_model(CONFIGS["opt"](), torch.float64), TOKENIZER)
    one, other = both(model, mlps=True, attention_inputs=True)
    heads = range(4) if place in OF_HEADS else [None]
    places = list(itertools.product([2, 0, 1], heads, [None, 0, 5, 11]))
    sites = [Site(place, (l,), None if h is None else (h,), None if p is None else (p,)) for l, h, p in places]  # noqa: E741
    found = patched(model, one, other, sites, budget=Budget(tokens=12 * 7, logits=5 * 2 * model.d_vocab))
    for site, (layer, head, position) in enumerate(places):
        value = naive_opt.keep(TOKENS[1:], place, layer)
        expected = naive_opt.run(TOKENS[:1], (place, layer, naive_opt.put(value, head, position)))[0, READ[0]]
        torch.testing.assert_close(found[site], expected, atol=1e-10, rtol=0)


def test_several_layers_at_once_are_a_window():
    model = HeadModel(naive_opt.plain_model(CONFIGS["opt"](), torch.float64), TOKENIZER)
    one, other = both(model, mlps=True)
    found = patched(model, one, other, [Site("mlp_out", (1, 2), None, (5,))])
    hooks = [("mlp_out", l, naive_opt.put(naive_opt.keep(TOKENS[1:], "mlp_out", l), None, 5)) for l in (1, 2)]  # noqa: E741
    expected = naive_opt.run(TOKENS[:1], *hooks)[0, READ[0]]
    torch.testing.assert_close(found[0], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gpt_oss"])
@pytest.mark.parametrize("place", ["q", "k", "v"])
def test_a_shared_key_or_value_is_patched_in_one_head_alone(family, place):
    """z of the head is attention with the other run's part; z of its neighbour, that shares keys, is as it was."""
    model = head_model(family)
    one, other = both(model, attention_inputs=True)
    mixed = {name: getattr(other if name == place else one, name)[1] for name in "qkv"}
    reader, keep = Reader(), Patches(model, other, [Site(place, (1,), (2,))])
    with model.intervening(keep, reader):
        model.logits(TOKENS[:1])
    assert torch.equal(reader.z[1][:, :, [0, 1, 3]], one.z[1][:, :, [0, 1, 3]])
    with model.intervening(Everything(mixed)):
        whole = record(model, TOKENS[:1], READ[:1])
    assert torch.equal(reader.z[1][:, :, 2], whole.z[1][:, :, 2])
    assert not torch.allclose(reader.z[1][:, :, 2], one.z[1][:, :, 2], atol=1e-4)


class Reader(StreamReader):
    def __init__(self):
        super().__init__()
        self.z = {}

    def on_z(self, layer, z, _):
        self.z[layer] = z
        return z


class Everything(StreamReader):
    """Attention of layer 1 computed from given q, k and v, in all heads."""

    wants_attention = True

    def __init__(self, mixed):
        super().__init__()
        self.mixed = mixed

    def on_attention(self, layer, inputs, z):
        return inputs.attend(self.mixed["q"], self.mixed["k"], self.mixed["v"]) if layer == 1 else z


@pytest.mark.parametrize(("family", "dtype"), [("llama", torch.float32), ("gptj", torch.float32)])
def test_packing_changes_nothing_but_rounding_and_stopping_costs_no_more(family, dtype):
    model = head_model(family, dtype)
    one, other = both(model, mlps=True)
    sites = [Site("z", (l,), (h,), (p,)) for p in (3, 11) for l in range(3) for h in range(4)]  # noqa: E741
    whole = patched(model, one, other, sites)
    alone = torch.cat([patched(model, one, other, [site]) for site in sites])
    torch.testing.assert_close(whole, alone, atol=10 * tolerance(family, dtype), rtol=0)
    blocks = patched_rows(model, one, other, sites, READ[:1], budget=Budget(tokens=12 * 5, logits=10**6))
    assert [(block.done, block.total) for block in itertools.islice(blocks, 2)] == [(5, 24), (10, 24)]
    blocks.close()


def test_several_prompts_are_patched_from_their_own_sources():
    model = head_model("llama")
    whole = record(model, TOKENS, READ)
    swapped = record(model, TOKENS.flip(0), READ)
    sites = [Site("resid_pre", (1,), None, (3, 7)), Site("z", (2,), (1,))]
    for block in patched_rows(model, whole, swapped, sites, READ):
        for row in (0, 1):
            alone = patched(model, whole.row(row), whole.row(1 - row), [sites[i] for i in block.sites])
            torch.testing.assert_close(block.logits[:, row], alone, atol=1e-5, rtol=0)


def test_what_cannot_be_patched_is_refused():
    model = head_model("gptj")
    with pytest.raises(UnsupportedModelError, match="GPTJForCausalLM computes attention by itself"):
        both(model, attention_inputs=True)
    one, other = both(model)
    with pytest.raises(HeadAtlasError, match="mlp_out was not recorded"):
        patched_rows(model, one, other, [Site("mlp_out", (0,))], READ[:1])
    with pytest.raises(HeadAtlasError, match="place must be one of"):
        patched_rows(model, one, other, [Site("nonsense", (0,))], READ[:1])
    with pytest.raises(PromptError, match="no site"):
        patched_rows(model, one, other, [], READ[:1])
    assert IGNORING


def test_prompts_that_are_not_aligned_are_named():
    model = head_model("llama")
    words = r"the clean one has 4 tokens, the corrupted one 3; they first differ at position 2, '.+' against '.+'"
    with pytest.raises(PromptError, match=words):
        aligned(model, (0, 5, 9, 7), (0, 5, 8))
    with pytest.raises(PromptError, match=r"3 tokens.* 2; they first differ at position 2, '.+' against the end"):
        aligned(model, (0, 5, 9), (0, 5))
    with pytest.raises(PromptError, match="the same"):
        aligned(model, (0, 5), (0, 5))
    assert aligned(model, (0, 5, 9), (0, 6, 9)) == 1
