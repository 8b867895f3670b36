"""The Learn tab: chapters with an experiment each (predict, run, see, against a control), a glossary, further reading.

What a chapter says and does is in `chapters`; here is the one runner for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.chapters import CHAPTERS, FIRST
from head_atlas.app.chapters.chapter import Chapter, Finding, Plan
from head_atlas.app.components import drawn
from head_atlas.app.events import ON_MODEL, PURE
from head_atlas.app.lab_running import in_background
from head_atlas.app.words import busy, failed, sentence
from head_atlas.catalogue import mode_label
from head_atlas.errors import HeadAtlasError
from head_atlas.views.learning import glossary_props, reading_props, story_props
from head_atlas.views.measured import effect_values
from head_atlas.views.saved import measured_by, shortened, source_of
from head_atlas.views.token_text import visible_all

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine

EMPTY = "Make your prediction, then press “Run it”: what comes out stands here, beside a control."
PAGES = {"glossary": "Glossary", "reading": "Further reading"}
"""Entries of the contents that are no chapters."""

NAMES = (*CHAPTERS, *PAGES)
N_SHOWN = 15
"""How many components a chapter fills: `LearnTab.all`."""


@dataclass(frozen=True)
class LearnTab:
    """The tab's components."""

    contents: gr.HTML
    story: gr.HTML
    experiment: gr.Column
    setup: gr.HTML
    another: gr.Button
    prediction: gr.Radio
    run: gr.Button
    status: gr.HTML
    result: gr.HTML
    to_lab: gr.Button
    closing: gr.Column
    evidence: gr.HTML
    after: gr.HTML
    following: gr.Button
    seed: gr.State

    @property
    def all(self) -> list[Any]:
        """What `LearnHandlers.opened` fills."""
        return [
            *[self.contents, self.story, self.experiment, self.setup, self.another, self.prediction, self.run],
            *[self.status, self.result, self.to_lab, self.closing, self.evidence, self.after, self.following],
            self.seed,
        ]


class LearnHandlers:
    """The tab's callbacks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @staticmethod
    def named(contents: Any) -> str:
        """The open entry, from the contents' value in the page, or from an address. Anyone can send anything here."""
        name = contents.get("chosen") if isinstance(contents, dict) else contents
        return name if isinstance(name, str) and name in NAMES else FIRST

    def plan(self, model: str, name: str, seed: Any) -> tuple[Chapter, Plan]:
        """A chapter's experiment on a model.

        Raises:
            HeadAtlasError: there is no such atlas, or it lacks what the chapter needs.
        """
        chapter = CHAPTERS.get(name, CHAPTERS[FIRST])
        number = seed if isinstance(seed, int) and 0 <= seed < 10_000 else 0
        return chapter, chapter.plan(self.engine.library.atlas(model), number)

    def setup(self, model: str, name: str, seed: int) -> dict:
        """The prompt, and what will be done."""
        try:
            _, plan = self.plan(model, name, seed)
        except HeadAtlasError as error:
            others = " Another model may show it: choose one at the top." if len(self.engine.library.names) > 1 else ""
            return {"empty": f"{sentence(error)} So with this model there is no experiment here.{others}"}
        rows = [{"label": label, "text": text} for label, text in plan.facts]
        return {"title": "The experiment", "sections": [{"kind": "facts", "rows": rows}]}

    def opened(self, model: str, name: str) -> list[Any]:
        """One entry of the contents, afresh: `LearnTab.all`."""
        name = self.named(name)
        entries = [
            {"name": n, "title": c.title.partition(":")[0], "number": i} for i, (n, c) in enumerate(CHAPTERS.items(), 1)
        ]
        entries += [{"name": n, "title": title, "number": None} for n, title in PAGES.items()]
        contents = {"label": "Chapters", "chosen": name, "entries": entries}
        if name in PAGES:
            text = glossary_props() if name == "glossary" else reading_props()
            hidden, nothing = gr.update(visible=False), {"empty": ""}
            return [
                *[contents, text, hidden, nothing, gr.skip(), gr.update(value=None), gr.skip(), None, nothing],
                *[gr.skip(), hidden, nothing, nothing, gr.skip(), 0],
            ]
        chapter = CHAPTERS[name]
        setup = self.setup(model, name, 0)
        # Without an experiment there is nothing to predict, no button to press, and nothing to say of it.
        runs = "empty" not in setup
        story = story_props(
            [(section.heading, section.paragraphs) for section in chapter.story if runs or not section.of_experiment],
            kind=f"Chapter {list(CHAPTERS).index(name) + 1} of {len(CHAPTERS)}",
            title=chapter.title,
        )
        shows = [("What this does and does not show", chapter.after)] if runs else []
        after = story_props(shows, papers=chapter.papers)
        others = runs and bool(chapter.again) and self.setup(model, name, 1) != setup
        heads = runs and self.for_lab(model, name, 0)[1] != ""
        shown = gr.update(visible=True)
        return [
            *[contents, story, shown, setup],
            gr.update(visible=others, value=chapter.again or "Other words"),
            gr.update(
                choices=[(text, key) for key, text in chapter.choices.items()],
                value=None,
                label=chapter.question,
                visible=runs,
            ),
            *[gr.update(visible=runs), None, {"empty": EMPTY if runs else ""}, gr.update(visible=heads)],
            *[shown, self.evidence(model, name), after, gr.update(value=f"Next: {_after(name)[1]}"), 0],
        ]

    def chosen(self, model: str, contents: Any) -> list[Any]:
        """An entry of the contents was clicked."""
        return self.opened(model, self.named(contents))

    def next(self, model: str, contents: Any) -> list[Any]:
        """The entry after this one."""
        return self.opened(model, _after(self.named(contents))[0])

    def another(self, model: str, contents: Any, seed: int) -> list[Any]:
        """Another prompt."""
        new = (seed + 1) % 10_000 if isinstance(seed, int) else 0
        return [new, self.setup(model, self.named(contents), new), {"empty": EMPTY}, None]

    def run(self, model: str, contents: Any, seed: int, prediction: str | None) -> Iterator[list[Any]]:
        """The experiment, and whether the prediction held."""
        name = self.named(contents)
        chapter = CHAPTERS.get(name, CHAPTERS[FIRST])
        if not isinstance(prediction, str) or prediction not in chapter.choices:
            text = "First make a prediction; a surprise only counts if you said what you expected."
            yield [{"kind": "info", "text": text}, gr.skip()]
            return
        try:
            _, plan = self.plan(model, name, seed)
            for step in in_background(self.engine, model, lambda loaded, _: chapter.run(loaded, plan)):
                if not step.finished:
                    yield [busy(step.text), gr.skip()]
        except HeadAtlasError as error:
            yield [failed(error), gr.skip()]
            return
        assert step.result is not None
        heads = {"removed": ", ".join(map(str, plan.heads)), "control": ", ".join(map(str, plan.control))}
        about = {"model_id": model, "chapter": name, "prompt": plan.text, **heads}
        yield [None, finding_props(chapter, step.result, prediction) | {"about": about}]

    def evidence(self, model: str, name: str) -> dict:
        """What the atlas says over all its prompts of the kind; or the chapter's own panel."""
        try:
            atlas = self.engine.library.atlas(model)
            chapter, plan = self.plan(model, name, 0)
        except HeadAtlasError:
            # What is missing is said where the experiment would stand.
            return {"empty": ""}
        try:
            if chapter.panel is not None:
                return chapter.panel(atlas)
            if not plan.family:
                return {"empty": ""}
            shown = effect_values(atlas, "logprob", atlas.modes[0], plan.family)
        except (HeadAtlasError, KeyError, IndexError):
            return {"empty": "The atlas holds no effects on prompts of this kind."}
        rows = [{"label": h.label, "text": shown.text(h.layer, h.head)} for h in plan.heads]
        rows += [{"label": f"{h.label} (control)", "text": shown.text(h.layer, h.head)} for h in plan.control]
        return {
            "title": "Over the whole atlas",
            "subtitle": "Mean effect of removing each head alone on the log-probability of the right token, over the "
            f"prompts of “{plan.family.replace('_', ' ')}”, in nats ({mode_label(atlas.modes[0])} ablation, 95 % "
            "interval, n prompts).",
            "about": source_of(atlas) | measured_by("logprob", plan.family, atlas.modes[0]),
            "sections": [{"kind": "facts", "rows": rows}],
        }

    def for_lab(self, model: str, name: str, seed: int) -> tuple[str, str]:
        """Prompt and removed heads of a chapter's experiment, for the Lab; both empty where it has none."""
        try:
            _, plan = self.plan(model, name, seed)
        except HeadAtlasError:
            return "", ""
        return plan.text, ", ".join(str(head) for head in plan.heads)


def finding_props(chapter: Chapter, finding: Finding, prediction: str) -> dict:
    """What the result panel draws: the rows, and whether the prediction held."""
    held = finding.outcome == prediction if finding.outcome else None
    said = {True: "Your prediction held. ", False: "Your prediction did not hold. ", None: ""}[held]
    true = chapter.choices.get(finding.outcome, "")
    # Chapters on plain removal begin what they say with the choice that came true.
    if true and not finding.said.startswith(true):
        said += f"{true} "
    groups = [
        {
            "question": question,
            "rows": [
                {"label": row.label, "kind": row.kind, "w": shortened(row.value), "text": row.text, "says": row.says}
                for row in rows
            ],
        }
        for question, rows in finding.groups
    ]
    return {
        "title": "What happened",
        "tokens": visible_all(finding.tokens),
        "then": finding.then,
        "question": groups[0]["question"],
        "rows": groups[0]["rows"],
        "more": groups[1:],
        "verdict": f"{said}{finding.said}",
        "held": held,
    }


def _after(name: str) -> tuple[str, str]:
    """Name and title of the entry that follows."""
    following = NAMES[(NAMES.index(name) + 1) % len(NAMES)]
    return following, PAGES.get(following) or CHAPTERS[following].title


def build(handlers: LearnHandlers, model: str) -> LearnTab:
    """Lay the tab out."""
    first = handlers.opened(model, FIRST)
    chapter = CHAPTERS[FIRST]
    with gr.Row(equal_height=False, elem_classes=["ha-columns", "ha-learn"]):
        with gr.Column(scale=3, min_width=220):
            contents = drawn("contents", first[0], elem_id="learn-contents")
        with gr.Column(scale=10, min_width=320, elem_classes=["ha-chapter"]):
            story = drawn("story", first[1], elem_id="learn-story")
            with gr.Column(elem_classes=["ha-box", "ha-flat"]) as experiment:
                setup = drawn("card", first[3], elem_id="learn-setup", boxed=False)
                another = gr.Button(chapter.again, size="sm", elem_id="learn-another")
                prediction = gr.Radio(
                    [(text, key) for key, text in chapter.choices.items()],
                    label=chapter.question,
                    elem_id="learn-prediction",
                )
                run = gr.Button("Run it", variant="primary", elem_id="learn-run")
                status = drawn("note", None, elem_id="learn-status", boxed=False)
                result = drawn("experiment", {"empty": EMPTY}, elem_id="learn-result", boxed=False)
                to_lab = gr.Button("Take it to the Lab", size="sm", elem_id="learn-to-lab")
            with gr.Column(elem_classes=["ha-box", "ha-flat"]) as closing:
                evidence = drawn("card", first[11], elem_id="learn-atlas", boxed=False)
                after = drawn("story", first[12], elem_id="learn-after", boxed=False)
                following = gr.Button(f"Next: {_after(FIRST)[1]}", size="sm", elem_id="learn-next")
    return LearnTab(
        contents, story, experiment, setup, another, prediction, run, status, result, to_lab, closing, evidence, after,
        following, gr.State(0),
    )  # fmt: skip


def wire(tab: LearnTab, handlers: LearnHandlers, model: gr.Dropdown) -> tuple[list[Any], Any]:
    """Connect the tab's own events; returns those that open another chapter, and the one that runs the model."""
    where = [model, tab.contents]
    running = tab.run.click(handlers.run, [*where, tab.seed, tab.prediction], [tab.status, tab.result], **ON_MODEL)
    tab.another.click(
        handlers.another, [*where, tab.seed], [tab.seed, tab.setup, tab.result, tab.status], **PURE, cancels=[running]
    )
    opened = [
        tab.contents.select(handlers.chosen, where, tab.all, **PURE, cancels=[running]),
        tab.following.click(handlers.next, where, tab.all, **PURE, cancels=[running]),
    ]
    return opened, running
