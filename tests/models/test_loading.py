"""Loading from folders: what comes out, and what is refused in which words."""

from __future__ import annotations

import hashlib
import json
import pickle

import pytest
import torch

from head_atlas import load_model
from head_atlas.errors import ModelError, PromptError, UnsupportedModelError
from tiny_models import CONFIGS, TOKENIZER, UNREACHED, plain_model


@pytest.fixture
def folder(tmp_path):
    plain_model(CONFIGS["llama"]()).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    return tmp_path


def test_a_folder(folder):
    said: list[str] = []
    model = load_model(folder, progress=said.append)
    assert model.dtype == torch.float32
    assert (model.n_layers, model.n_heads, model.n_kv_heads, model.d_head) == (3, 4, 2, 8)
    assert (model.model_id, model.revision) == (str(folder), "")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model.fingerprint == hashlib.sha256(f"model.safetensors\0{digest}\n".encode()).hexdigest()
    assert said[0].startswith("reading ")
    assert said[-1] == "ready: 3 layers of 4 heads"
    tokens = model.tokens("The cat sat")
    assert tokens[0] == 0
    assert "".join(model.strings(tokens)) == "<|bos|>The cat sat"


def test_the_logits_of_a_loaded_model_are_those_of_the_saved_one(folder):
    tokens = torch.tensor([[0, 4, 200, 17]])
    with torch.no_grad():
        expected = plain_model(CONFIGS["llama"]())(input_ids=tokens).logits
    assert torch.equal(load_model(str(folder)).logits(tokens), expected)


@pytest.mark.parametrize("dtype", ["float64", torch.float64, "bfloat16"])
def test_dtypes(folder, dtype):
    model = load_model(folder, dtype=dtype)
    assert model.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float64)
    assert all(check.passed for check in model.checks)


def test_an_unknown_dtype(folder):
    with pytest.raises(ModelError, match=r"dtype must be one of float32, .*found 'int8'"):
        load_model(folder, dtype="int8")


def test_an_unknown_device(folder):
    with pytest.raises(ModelError, match="there is no device 'gpu'"):
        load_model(folder, device="gpu")


@pytest.mark.parametrize("path", ["/no/such/folder", "./nowhere", "../../etc/passwd", "a/b/c", "", "-x/y", "é/é"])
def test_a_missing_folder(path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(path)


def test_a_file_is_no_folder(folder):
    with pytest.raises(ModelError, match="there is no such folder"):
        load_model(folder / "model.safetensors")


def test_an_empty_folder(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_model(tmp_path)


def test_pickled_weights_are_never_read(folder):
    (folder / "model.safetensors").unlink()
    proof = folder / "ran"

    class Bomb:
        def __reduce__(self):
            return (proof.touch, ())

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="has no safetensors weights"):
        load_model(folder)
    assert not proof.exists()


def test_code_in_the_folder_is_never_run(folder):
    proof = folder / "ran"
    (folder / "modeling_evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "modeling_evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(folder)
    assert not proof.exists()


def test_damaged_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(folder)


def test_weights_that_are_not_all_there(folder):
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="lacks 9 of its weights"):
        load_model(folder)


def test_no_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="has no tokenizer that can be read"):
        load_model(folder)


def test_an_unreached_architecture(tmp_path):
    plain_model(UNREACHED["FalconForCausalLM"]()).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="FalconForCausalLM"):
        load_model(tmp_path)


def test_prompts_that_the_model_cannot_read(folder):
    model = load_model(folder)
    with pytest.raises(PromptError, match="empty"):
        model.tokens("")
    with pytest.raises(PromptError, match="at most 64"):
        model.tokens("cat " * 100)
    with pytest.raises(PromptError, match="token ids must lie in"):
        model.rows([[0, 10**6]])
