"""The corrupted prompt: proposed from the families' templates, and checked against the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.lab_modes import corrupted_tokens
from head_atlas.app.lab_running import in_background
from head_atlas.app.words import busy, failed
from head_atlas.errors import HeadAtlasError
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.models import HeadModel


class PairHandlers:
    """Callbacks of the corrupted prompt."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def propose(self, model: Any, prompt: Any, corrupted: Any) -> Iterator[list[Any]]:
        """Propose one for the prompt, another one at every press. Yields the text and a line below it."""
        from head_atlas.prompts.corruption import propose_corrupted

        try:
            text = self.engine.limits.check_text(prompt if isinstance(prompt, str) else "")
            before = corrupted if isinstance(corrupted, str) else ""

            def work(loaded: HeadModel, _: object) -> tuple[str, dict]:
                found = [propose_corrupted(loaded.policy, text, seed=seed) for seed in range(6)]
                texts = list(dict.fromkeys(one.corrupted for one in found))
                chosen = texts[(texts.index(before) + 1) % len(texts)] if before in texts else texts[0]
                return chosen, self._described(loaded, text, chosen)

            for step in in_background(self.engine, model if isinstance(model, str) else "", work):
                if not step.finished:
                    yield [gr.skip(), busy(step.text)]
        except HeadAtlasError as error:
            yield [gr.skip(), failed(error)]
            return
        assert step.result is not None
        yield list(step.result)

    def check(self, model: Any, prompt: Any, corrupted: Any) -> Iterator[dict | None]:
        """Say how a typed corrupted prompt differs from the prompt."""
        if not isinstance(corrupted, str) or not corrupted.strip():
            yield None
            return
        try:
            text = self.engine.limits.check_text(prompt if isinstance(prompt, str) else "")
            other = self.engine.limits.check_text(corrupted)
            name = model if isinstance(model, str) else ""
            for step in in_background(self.engine, name, lambda loaded, _: self._described(loaded, text, other)):
                yield step.result if step.finished else busy(step.text)
        except HeadAtlasError as error:
            yield failed(error)

    def _described(self, model: HeadModel, clean: str, corrupted: str) -> dict:
        other = corrupted_tokens(self.engine, model, clean, corrupted)
        one = model.policy.encode(clean)
        at = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        if not at:
            return {"kind": "error", "text": "This is the prompt itself: exchange a word."}
        pairs = ", ".join(
            f"{quoted(a)} → {quoted(b)}"
            for a, b in zip(model.strings([one[i] for i in at]), model.strings([other[i] for i in at]), strict=True)
        )
        return {"kind": "done", "text": f"As many tokens ({len(one)}); they differ in {pairs}."}
