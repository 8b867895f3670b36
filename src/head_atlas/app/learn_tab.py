"""The Learn tab: one chapter, induction heads. Predict, run, see, against a control head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.events import ON_MODEL, PURE
from head_atlas.app.experiments import WORDS, induction, induction_and_control, repeated_words, vocabulary, whence
from head_atlas.app.lab_view import heads_text
from head_atlas.app.words import busy, failed, sentence
from head_atlas.errors import AtlasError, HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.views.comparison import OUTCOMES, Condition, comparison_props, judged
from head_atlas.views.induction import RULE, induction_heads
from head_atlas.views.measured import effect_values
from head_atlas.views.superposition import superposition_props

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine


EMPTY = (
    "Make your prediction, then press “Run it”: the word’s probability with all heads, without the induction heads, "
    "and without the controls."
)


@dataclass(frozen=True)
class LearnTab:
    """The tab's components."""

    setup: gr.HTML
    another: gr.Button
    prediction: gr.Radio
    run: gr.Button
    status: gr.HTML
    result: gr.HTML
    atlas: gr.HTML
    superposition: gr.HTML
    to_lab: gr.Button
    seed: gr.State


class LearnHandlers:
    """The tab's callbacks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def chosen(self, model: str) -> tuple[list[HeadId], list[HeadId]]:
        """The heads of the experiment and their controls.

        Raises:
            AtlasError: there is no atlas to choose by.
        """
        atlas = self.engine.library.atlas(model)
        return induction_and_control(atlas, induction_heads(atlas))

    def words(self, model: str, seed: int) -> tuple[str, str]:
        """The prompt and the word expected next, of words that this model reads as one token each if that is known."""
        words = WORDS
        with suppress(AtlasError):
            words = vocabulary(self.engine.library.atlas(model))
        return repeated_words(int(seed), words)

    def setup(self, model: str, seed: int) -> dict:
        """The prompt, and what will be removed."""
        try:
            heads, control = self.chosen(model)
            words, target = self.words(model, seed)
            by_rule = bool(induction_heads(self.engine.library.atlas(model)))
        except HeadAtlasError as error:
            return {"empty": f"{sentence(error)} The experiment picks its heads by the atlas’ induction scores."}
        few = "the heads" if len(heads) > 1 else "the head"
        controls = ", ".join(h.label for h in control)
        instead = "as many heads" if len(heads) > 1 else "a head"
        named = ", ".join(h.label for h in heads)
        rule = f"{few} with an {RULE}"
        if not by_rule:
            rule = f"the highest induction excess of this model; no head has an {RULE}"
        return {
            "title": "The experiment",
            "sections": [
                {
                    "kind": "facts",
                    "rows": [
                        {"label": "Prompt", "text": f"{words.strip()} …"},
                        {"label": "Expected next", "text": target.strip()},
                        {"label": "Removed", "text": f"{named}: {rule}"},
                        {
                            "label": "Control",
                            "text": f"{controls}: {instead} {whence(heads, control)}, with the induction excess "
                            "closest to 0",
                        },
                    ],
                }
            ],
        }

    def another(self, model: str, seed: int) -> list[Any]:
        """Other words."""
        new = (int(seed) + 1) % 10_000
        return [new, self.setup(model, new), {"empty": EMPTY}, None]

    def run(self, model: str, seed: int, prediction: str | None) -> Iterator[list[Any]]:
        """The experiment, and whether the prediction held."""
        if not isinstance(prediction, str) or prediction not in OUTCOMES:
            yield [
                {
                    "kind": "info",
                    "text": "First make a prediction; a surprise only counts if you said what you expected.",
                },
                gr.skip(),
            ]
            return
        try:
            heads, control = self.chosen(model)
            for message in self.engine.prepare(model):
                yield [busy(f"Loading the model. Now: {message}"), gr.skip()]
            yield [busy("Running …"), gr.skip()]
            words, target = self.words(model, seed)
            with self.engine.use(model) as loaded:
                removed, instead = induction(loaded, words, target, heads, control)
                runs = [removed.clean_log_probs, removed.ablated_log_probs, instead.ablated_log_probs]
                tops = [int(np.argmax(p)) for p in runs]
                texts = loaded.strings([*tops, removed.target])
                special = len(loaded.policy.prefix)
        except HeadAtlasError as error:
            yield [failed(error), gr.skip()]
            return
        target_text = texts[-1]
        p = [float(np.exp(run[removed.target])) for run in runs]
        first = [top == removed.target for top in tops]
        verdict, held = judged(prediction, target_text, p, first)
        name = heads_text(tuple(heads))
        yield [
            None,
            comparison_props(
                removed.strings[special:],
                target_text,
                [
                    Condition("all heads", "clean", p[0], texts[0]),
                    Condition(f"without {name}", "ablated", p[1], texts[1]),
                    Condition(f"without {heads_text(tuple(control))} (control)", "control", p[2], texts[2]),
                ],
                title="What happened",
                verdict=verdict,
                held=held,
            ),
        ]

    def atlas(self, model: str) -> dict:
        """What the atlas says over all its prompts of repeated random tokens."""
        try:
            heads, control = self.chosen(model)
            atlas = self.engine.library.atlas(model)
            shown = effect_values(atlas, "logprob", atlas.modes[0], "rand_repeat")
        except (HeadAtlasError, KeyError, IndexError):
            return {"empty": "The atlas holds no effects on repeated random tokens."}
        rows = [{"label": h.label, "text": shown.text(h.layer, h.head)} for h in heads[:8]]
        rows += [{"label": f"{h.label} (control)", "text": shown.text(h.layer, h.head)} for h in control[:8]]
        return {
            "title": "Over the whole atlas",
            "subtitle": "Mean effect of removing each head alone on the log-probability of the right token, over "
            f"random repeated tokens, in nats ({atlas.modes[0]} ablation, 95 % interval, n prompts).",
            "sections": [{"kind": "facts", "rows": rows}],
        }

    def superposition(self, model: str) -> dict:
        """What the atlas measured of superposition and neurons."""
        try:
            return superposition_props(self.engine.library.atlas(model))
        except AtlasError as error:
            return {"empty": sentence(error)}


def build(handlers: LearnHandlers, model: str) -> LearnTab:
    """Lay the tab out."""
    seed = gr.State(0)
    with gr.Column(elem_classes=["ha-chapter"]):
        with gr.Column(elem_classes=["ha-box", "ha-flat"]):
            fixed(asset("induction-story.html"), elem_id="learn-story")
        with gr.Column(elem_classes=["ha-box", "ha-flat"]):
            setup = drawn("card", handlers.setup(model, 0), elem_id="learn-setup", boxed=False)
            another = gr.Button("Other words", size="sm", elem_id="learn-another")
            prediction = gr.Radio(
                [(text, name) for name, text in OUTCOMES.items()],
                label="Predict: without these heads, what happens to the expected word?",
                elem_id="learn-prediction",
            )
            run = gr.Button("Run it", variant="primary", elem_id="learn-run")
            status = drawn("note", None, elem_id="learn-status", boxed=False)
            result = drawn("experiment", {"empty": EMPTY}, elem_id="learn-result", boxed=False)
            to_lab = gr.Button("Take it to the Lab", size="sm", elem_id="learn-to-lab")
        with gr.Column(elem_classes=["ha-box", "ha-flat"]):
            atlas = drawn("card", handlers.atlas(model), elem_id="learn-atlas", boxed=False)
            fixed(asset("induction-after.html"))
        superposition = drawn("card", handlers.superposition(model), elem_id="learn-superposition")
    return LearnTab(setup, another, prediction, run, status, result, atlas, superposition, to_lab, seed)


def wire(tab: LearnTab, handlers: LearnHandlers, model: gr.Dropdown) -> Any:
    """Connect the tab's own events; returns the one that runs the model."""
    tab.another.click(handlers.another, [model, tab.seed], [tab.seed, tab.setup, tab.result, tab.status], **PURE)
    return tab.run.click(handlers.run, [model, tab.seed, tab.prediction], [tab.status, tab.result], **ON_MODEL)
