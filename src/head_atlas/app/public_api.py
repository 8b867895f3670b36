"""The calls that programs may use: typed, documented, and held to the same limits as the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app import lab_view
from head_atlas.app.events import refused
from head_atlas.app.lab_modes import reference_for
from head_atlas.app.words import sentence
from head_atlas.catalogue import SCORES
from head_atlas.errors import HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.views.choices import score_families
from head_atlas.views.measured import score_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from head_atlas.app.engine import Engine
    from head_atlas.app.library import Library
    from head_atlas.store import Atlas


def ablate_call(engine: Engine) -> Callable[..., dict[str, Any]]:
    """The public `ablate`."""

    def ablate(
        prompt: str, heads: str = "", mode: str = "zero", target: str = "", contrast: str = ""
    ) -> dict[str, Any]:
        """Remove attention heads and compare the model's next token with and without them.

        Args:
            prompt: the text the model continues.
            heads: heads to remove, all at once, such as "2.5, L2H1"; empty removes none.
            mode: "zero" (the heads' output becomes 0), "mean" (it becomes its average over natural text) or
                "resample" (what it is on another prompt; where the atlas has a reference).
            target: one token to measure; empty takes the unablated model's first choice.
            contrast: one token to hold it against; needed for the logit difference.

        Returns:
            target, contrast, the ten likeliest tokens of either run with both probabilities, and the effects
            (ablated - clean; logit_difference is null without a contrast).
        """
        from head_atlas.live import ablate as run

        name = engine.library.default
        given = {"prompt": prompt, "heads": heads, "mode": mode, "target": target, "contrast": contrast}
        for key, value in given.items():
            if not isinstance(value, str):
                raise refused("Not possible", f"{key} must be a text, found {type(value).__name__}.")
        try:
            what = lab_view.asked(engine, name, prompt, heads, mode, target, contrast)
            with engine.use(name) as model:
                model.policy.encode(what.prompt, max_length=min(engine.limits.prompt_tokens, model.max_length))
                reference = reference_for(engine, model, what)
                found = run(model, what.prompt, what.heads, what.mode, what.target, what.contrast, reference)
                top = [
                    {"token": change.text, "clean": change.clean, "ablated": change.ablated} for change in found.top(10)
                ]
                wanted, other = found.target, found.contrast
                texts = model.strings([wanted] if other is None else [wanted, other])
        except HeadAtlasError as error:
            raise refused("Not possible", sentence(error)) from None
        return {
            "model": name,
            "heads": [str(head) for head in found.heads],
            "mode": found.mode,
            "target": texts[0],
            "contrast": texts[1] if len(texts) > 1 else None,
            "top": top,
            "effects": {key: float(x) if np.isfinite(x) else None for key, x in found.effects.items()},
        }

    return ablate


def scores_call(library: Library) -> Callable[..., dict[str, Any]]:
    """The public `head_scores`."""

    def head_scores(head: str) -> dict[str, Any]:
        """Read a head's scores from the atlas.

        Args:
            head: such as "2.5" or "L2H5".

        Returns:
            By score and family: the value (the excess over attending uniformly where that is defined, else the
            mean), its 95 % interval and the number of prompts.
        """
        try:
            atlas = library.atlas(library.default)
            one = HeadId.parse(str(head)).within(atlas.n_layers, atlas.n_heads)
            found = {
                name: {family: _score(atlas, name, family, one) for family in families}
                for name in SCORES
                if (families := score_families(atlas, name))
            }
        except HeadAtlasError as error:
            raise refused("Not possible", sentence(error)) from None
        return {"model": atlas.model_id, "head": str(one), "scores": found}

    return head_scores


def _score(atlas: Atlas, name: str, family: str, head: HeadId) -> dict[str, Any]:
    shown = score_values(atlas, name, family)
    parts = {"value": shown.values, "low": shown.low, "high": shown.high, "n": shown.n}
    numbers = {key: None if x is None else _number(x[head.layer, head.head]) for key, x in parts.items()}
    return {"kind": "excess" if SCORES[name].has_excess else "mean", **numbers}


def _number(x: Any) -> float | None:
    return float(x) if np.isfinite(x) else None


def add(library: Library, engine: Engine) -> None:
    """Publish the calls; to be used within the page's Blocks."""
    gr.api(ablate_call(engine), api_name="ablate", concurrency_id="model", concurrency_limit=1)
    gr.api(scores_call(library), api_name="head_scores")
