"""Loading by name: the real hub client against a small hub of our own on this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hub_server import serving
from tiny_models import CONFIGS, TOKENIZER, plain_model

SHA = "c0ffee" + "0" * 34

# The client reads the hub's address when it is imported, so each load is a process of its own.
LOAD = """
import sys
from head_atlas import load_model
from head_atlas.errors import ModelError
for name in sys.argv[1:]:
    name, _, revision = name.partition("@")
    try:
        model = load_model(name, revision=revision or None, progress=lambda text: print("said:", text))
        print("loaded:", model.model_id, model.revision, model.n_layers, all(c.passed for c in model.checks))
    except ModelError as error:
        print(type(error).__name__ + ":", error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    plain_model(CONFIGS["gpt2"]()).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"not to be fetched")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "README.md").write_text("# Tiny")
    return folder


def load(address, home, *names):
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    run = subprocess.run(
        [sys.executable, "-c", LOAD, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_hub(folder, tmp_path):
    """A download, the refusals, and then the same names with the hub gone."""
    with serving() as hub:
        hub.add("models", "tiny/model", folder, SHA)
        hub.add("models", "tiny/gated", {}).gated = True
        address = hub.address
        out = load(address, tmp_path, "tiny/model", "no/such", "tiny/gated", "tiny/model@v9")
    assert f"loaded: tiny/model {SHA} 3 True" in out
    size = (folder / "model.safetensors").stat().st_size / 1e6
    assert f"said: tiny/model at {SHA[:12]}: " in out
    assert f"said: model.safetensors: {size:,.1f} MB" in out
    assert "model.safetensors" in hub.sent
    assert not {"pytorch_model.bin", "modeling_evil.py", "README.md"} & set(hub.sent)
    assert "ModelError: there is no model 'no/such' on the hub" in out
    assert "ModelError: 'tiny/gated' is gated" in out
    assert "ModelError: 'tiny/model' has no revision 'v9'" in out

    out = load(address, tmp_path, "tiny/model", "no/such")
    assert "said: tiny/model: nothing could be downloaded; using the copy cached at c0ffee" in out
    assert f"loaded: tiny/model {SHA} 3 True" in out
    assert "ModelError: 'no/such' cannot be downloaded (ConnectError: " in out
    assert "no copy is cached; give a local folder" in out
