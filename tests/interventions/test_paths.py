"""Path patching: the four passes, what must be nothing, what must be everything, and a path made by hand."""

from __future__ import annotations

import pytest
import torch
import transformers

import naive_opt
from head_atlas.errors import HeadAtlasError, HeadError, UnsupportedModelError
from head_atlas.heads import HeadId
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.patching import Patches, Site
from head_atlas.interventions.path_patching import LOGITS, Receiver, path_rows
from head_atlas.interventions.recording import record
from tiny_models import CONFIGS, IGNORING, TOKENIZER, HeadModel, head_model

TOKENS = torch.tensor([[0, 5, 9, 200, 7, 5, 9, 31, 90, 12], [0, 8, 8, 1, 7, 2, 300, 31, 2, 12]])
READ = torch.tensor([[9, 6], [9, 6]])
WITH_INPUTS = [family for family in CONFIGS if family not in IGNORING]


def ids(*names):
    return tuple(HeadId.parse(name) for name in names)


def into(*pairs):
    return tuple(Receiver(HeadId.parse(name), through) for name, through in pairs)


def found(model, senders, receivers, tokens=TOKENS, read=READ, **budget):
    """(unpatched logits, patched logits [sender, receiver, read, d_vocab])."""
    whole = record(model, tokens, read)
    logits = {}
    for block in path_rows(model, whole.row(0), whole.row(1), senders, receivers, read[:1], **budget):
        for i, sender in enumerate(block.senders):
            logits[sender, block.receivers] = block.logits[i, 0]
    rows = [torch.stack([logits[s, r] for r in range(len(receivers))]) for s in range(len(senders))]
    return whole.logits[0], torch.stack(rows)


def naive(senders, receivers):
    """Wang et al.'s passes by hooks on whole runs; every head but the senders held in pass 3."""
    clean, corrupted = TOKENS[:1], TOKENS[1:]
    held = []
    for layer in range(naive_opt.N_LAYERS):
        value = naive_opt.keep(clean, "z", layer)
        theirs = naive_opt.keep(corrupted, "z", layer)
        for head in senders:
            if head.layer == layer:
                columns = slice(head.head * naive_opt.D_HEAD, (head.head + 1) * naive_opt.D_HEAD)
                value[..., columns] = theirs[..., columns]
        held.append(("z", layer, naive_opt.put(value)))
    if not receivers:
        return naive_opt.run(clean, *held)[0, READ[0]]
    heard = [
        (r.through, r.head.layer, naive_opt.put(naive_opt.keep(clean, r.through, r.head.layer, *held), r.head.head))
        for r in receivers
    ]
    return naive_opt.run(clean, *heard)[0, READ[0]]


def test_it_is_the_four_passes_by_hooks():
    model = HeadModel(naive_opt.plain_model(CONFIGS["opt"](), torch.float64), TOKENIZER)
    senders = [ids("1.3"), ids("0.1"), ids("0.0", "1.2"), ids("2.1"), ids("0.2", "2.2")]
    receivers = [
        into(("1.0", "k")),
        into(("2.1", "q")),
        into(("2.3", "v")),
        into(("1.1", "q"), ("1.1", "k"), ("2.2", "v"), ("2.2", "k"), ("2.0", "v")),
        LOGITS,
    ]
    _, patched = found(model, senders, receivers, budget=Budget(tokens=20, logits=10**6))
    for s, group in enumerate(senders):
        for r, inputs in enumerate(receivers):
            torch.testing.assert_close(patched[s, r], naive(group, inputs), atol=1e-10, rtol=0)


@pytest.mark.parametrize("family", WITH_INPUTS)
def test_there_is_no_path_down_or_sideways(family):
    """A sender beside or above a receiver adds nothing, also where another sender's row does run."""
    model = head_model(family)
    inputs = [into(("1.2", "q"), ("1.2", "k"), ("1.2", "v"))]
    clean, patched = found(model, [ids("1.0"), ids("2.1"), ids("0.1"), ids("0.1", "1.0", "2.1")], inputs)
    assert torch.equal(patched[0, 0], clean)
    assert torch.equal(patched[1, 0], clean)
    torch.testing.assert_close(patched[2, 0], patched[3, 0], atol=1e-5, rtol=1e-5)
    assert (patched[2, 0] - clean).abs().max() > 1e-5


@pytest.mark.parametrize("family", CONFIGS)
def test_all_heads_on_all_paths_to_the_logits_are_all_heads_patched(family):
    """With every head a sender, no head is held, so pass 3 is the run with every z from the other one."""
    model = head_model(family)
    every = tuple(HeadId(layer, head) for layer in range(3) for head in range(4))
    clean, patched = found(model, [every], [LOGITS])
    source = record(model, TOKENS[1:], READ[1:])
    with model.intervening(Patches(model, source, [Site("z", (0, 1, 2))])):
        expected = model.logits(TOKENS[:1], READ[:1])[0]
    torch.testing.assert_close(patched[0, 0], expected, atol=1e-4, rtol=1e-4)
    assert (expected - clean).abs().max() > 1e-3


@pytest.mark.parametrize("family", WITH_INPUTS)
def test_all_lower_heads_to_all_inputs_of_a_head_are_its_z_in_the_run_where_those_are_patched(family):
    """Into q, k and v of one head from all heads below: its z is the one it has when all these are patched."""
    model = head_model(family)
    lower = tuple(HeadId(layer, head) for layer in (0, 1) for head in range(4))
    _, patched = found(model, [lower], [into(("2.1", "q"), ("2.1", "k"), ("2.1", "v"))])
    whole = record(model, TOKENS, READ)
    source = whole.row(1)
    with model.intervening(Patches(model, source, [Site("z", (0, 1))])):
        below = record(model, TOKENS[:1], READ[:1])
    with model.intervening(Patches(model, below, [Site("z", (2,), (1,))])):
        expected = model.logits(TOKENS[:1], READ[:1])[0]
    torch.testing.assert_close(patched[0, 0], expected, atol=1e-4, rtol=1e-4)


def test_what_cannot_be_done_is_refused_by_name():
    model = head_model("gptj")
    with pytest.raises(UnsupportedModelError, match="GPTJForCausalLM computes attention by itself"):
        found(model, [ids("0.0")], [into(("1.0", "k"))])
    model = head_model("llama")
    with pytest.raises(HeadError, match=r"there is no head 9\.0"):
        found(model, [ids("9.0")], [LOGITS])
    with pytest.raises(HeadError, match="at least one sender and one receiver"):
        found(model, [], [LOGITS])
    with pytest.raises(HeadAtlasError, match="through q, k or v, found 'z'"):
        found(model, [ids("0.0")], [into(("1.0", "z"))])


V, T, D_HEAD = 8, 8, 16
TOKEN, PLACE, BEFORE, OUT = (slice(start, start + 8) for start in (0, 8, 16, 24))


def induction_by_hand() -> HeadModel:
    """A two-layer attention-only GPT-2: L0H0 writes the token before into BEFORE, and L1H0 looks for it by K.

    Dimensions are one-hot: the token, the position, the token before, the answer. The other heads write nothing.
    """
    config = transformers.GPT2Config(
        vocab_size=V, n_embd=32, n_layer=2, n_head=2, n_positions=T, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    for name, parameter in model.named_parameters():
        parameter.data.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    eye = torch.eye(8, dtype=torch.float64)
    model.transformer.wte.weight.data[:, TOKEN] = eye
    model.transformer.wpe.weight.data[:, PLACE] = eye
    model.lm_head.weight.data[:, OUT] = eye
    shift = torch.diag(torch.ones(7, dtype=torch.float64), -1)  # position i asks for position i - 1

    def wire(layer, query, key, sharpness, value, output, q_map=eye):
        attention = model.transformer.h[layer].attn
        weight = attention.c_attn.weight.data  # in, (q of head 0, q of head 1, k, v)
        weight[query, 0:8] = sharpness * q_map
        weight[key, 32:40] = sharpness * eye
        weight[value, 64:72] = eye
        attention.c_proj.weight.data[0:8, output] = eye

    wire(0, PLACE, PLACE, 20.0, TOKEN, BEFORE, shift)
    wire(1, TOKEN, BEFORE, 20.0, TOKEN, OUT)
    return HeadModel(model, TOKENIZER)


def test_a_path_made_by_hand():
    """A B C D ... A: the answer is B, by L0H0 -> K of L1H0 and no other way."""
    model = induction_by_hand()
    clean, corrupted = [0, 1, 2, 3, 4, 5, 1], [0, 6, 2, 3, 4, 5, 1]
    tokens, read = torch.tensor([clean, corrupted]), torch.tensor([[6], [6]])
    unpatched, patched = found(
        model,
        [ids("0.0"), ids("0.1"), ids("1.0")],
        [into(("1.0", "k")), into(("1.0", "q")), into(("1.0", "v")), into(("1.1", "k")), LOGITS],
        tokens, read,
    )  # fmt: skip
    assert int(unpatched[0].argmax()) == 2
    change = (patched - unpatched)[:, :, 0, 2]  # of the logit of B
    assert change[0, 0] < -1
    others = change.clone()
    others[0, 0] = 0
    others[2, 4] = 0  # L1H0 itself writes the answer
    assert others.abs().max() < 0.1
    assert change[2, 4] < -1
