"""Interventions touch one model, in one thread, for as long as their context lasts."""

from __future__ import annotations

import threading

import pytest
import torch

from head_atlas.heads import HeadId
from head_atlas.interventions import ablating
from head_atlas.models import Intervention
from tiny_models import head_model

TOKENS = torch.tensor([[0, 5, 9, 200, 7, 5, 9, 31]])


def logits_without(model, head):
    with ablating(model, [head]):
        return model.logits(TOKENS)


def test_two_threads_never_see_each_others_ablation():
    model = head_model("llama")
    heads = [HeadId(0, 1), HeadId(2, 3)]
    expected = [logits_without(model, head) for head in heads]
    assert not torch.equal(*expected)
    both_inside = threading.Barrier(2, timeout=30)
    wrong: list[str] = []

    def run(index):
        with ablating(model, [heads[index]]):
            both_inside.wait()
            for _ in range(20):
                if not torch.equal(model.logits(TOKENS), expected[index]):
                    wrong.append(str(heads[index]))
            both_inside.wait()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_new_thread_starts_clean():
    model = head_model("llama")
    clean = model.logits(TOKENS)
    seen: list[torch.Tensor] = []
    with ablating(model, ["0.0"]):
        assert not torch.equal(model.logits(TOKENS), clean)
        thread = threading.Thread(target=lambda: seen.append(model.logits(TOKENS)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], clean)


def test_an_ablation_of_one_model_leaves_another_alone():
    one, other = head_model("llama"), head_model.__wrapped__("llama")
    clean = other.logits(TOKENS)
    with ablating(one, ["0.0"]):
        assert torch.equal(other.logits(TOKENS), clean)


def test_an_exception_leaves_nothing_behind():
    model = head_model("gpt2")
    clean = model.logits(TOKENS)

    class Failing(Intervention):
        def on_z(self, *_):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ablating(model, ["1.1"]), model.intervening(Failing()):
        model.logits(TOKENS)
    assert torch.equal(model.logits(TOKENS), clean)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.model.modules())


def test_interventions_nest():
    model = head_model("gpt2")
    with ablating(model, ["0.1", "2.3"]):
        together = model.logits(TOKENS)
    with ablating(model, ["0.1"]), ablating(model, ["2.3"]):
        nested = model.logits(TOKENS)
    assert torch.equal(together, nested)
