"""Loading a model: safetensors only, and never code from the repository of the model."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from head_atlas.errors import ModelError
from head_atlas.models.head_model import HeadModel
from head_atlas.models.sources import Progress, Source, find_source, fingerprint

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# transformers changes torch's default dtype while it loads: one load at a time.
_LOADING = threading.Lock()


def load_model(
    path_or_hub_id: str | Path,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    progress: Progress | None = None,
) -> HeadModel:
    """Load a causal language model and verify that its heads can be reached.

    Args:
        path_or_hub_id: a folder, or a name on the Hugging Face hub.
        revision: branch, tag or commit on the hub.
        device: "cpu", "cuda", ...; by default the GPU if there is one.
        dtype: float32 by default: effects of single heads are small, and 16-bit arithmetic hides them.
        progress: is told, in words, what is downloaded and what is going on.

    Raises:
        ModelError: the model cannot be found, downloaded or read, or there is no such device or dtype.
        UnsupportedModelError: its heads cannot be reached exactly, or its architecture is unknown.
    """
    say = progress or (lambda _: None)
    precision = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype or torch.float32
    if precision is None:
        raise ModelError(f"dtype must be one of {', '.join(_DTYPES)}, found {dtype!r}")
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ModelError(f"there is no device {str(device)!r}; cpu and cuda are the usual ones") from error
    source = find_source(path_or_hub_id, revision, say)
    say(f"reading {source.model_id}")
    with _LOADING:
        model = _read_weights(source, precision)
        tokenizer = _read_tokenizer(source)
    try:
        model = model.to(place)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"{source.model_id!r} does not fit on {place}: {error}") from error
    say("checking that its heads can be reached")
    loaded = HeadModel(
        model,
        tokenizer,
        model_id=source.model_id,
        revision=source.revision,
        fingerprint=fingerprint(source.folder),
    )
    say(f"ready: {loaded.n_layers} layers of {loaded.n_heads} heads")
    return loaded


def _read_weights(source: Source, dtype: torch.dtype) -> Any:
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source.folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise ModelError(f"{source.model_id!r} cannot be loaded: {_first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{source.model_id!r} lacks {len(missing)} of its weights, which would be random: {missing[:3]}"
        )
    return model


def _read_tokenizer(source: Source) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(f"{source.model_id!r} has no tokenizer that can be read: {_first_line(error)}") from error
    if not tokenizer.is_fast:
        raise ModelError(f"{source.model_id!r} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
