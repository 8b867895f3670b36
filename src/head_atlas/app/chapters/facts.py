"""Where facts sit: drown a subject in noise, restore one inner state, and see whether the fact comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Row, Section
from head_atlas.app.chapters.picks import control_of, effects, labels, prompts_of, strongest
from head_atlas.app.chapters.running import asked_next, three_rows, without, words_of
from head_atlas.app.experiments import whence
from head_atlas.errors import AtlasError
from head_atlas.views.numbers import plain
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

N_SAMPLES = 8
CHOICES = {
    "moves": "A quarter of the way up it is at the subject, three quarters of the way up at the last word only.",
    "stays": "Three quarters of the way up it is still at the subject.",
    "other": "Neither of the two.",
}


def plan(atlas: Atlas, seed: int) -> Plan:
    """A stored prompt of a fact, with its subject annotated; the heads are picked by what they cost such prompts."""
    stored = [one for one in prompts_of(atlas, "fact") if one.annotations.get("subject")]
    if not stored:
        raise AtlasError("This atlas holds no facts with their subjects marked.")
    prompt = stored[seed % len(stored)]
    measured = effects(atlas)
    if "fact" not in measured:
        raise AtlasError("This atlas holds no effects on facts.")
    head = strongest(-measured["fact"])
    control = control_of(measured["fact"], [head])
    n_facts = sum(one.family == "fact" for one in atlas.prompts)
    subject = "".join(prompt.strings[i] for i in prompt.annotations["subject"]).strip()
    return Plan(
        (
            ("Prompt", f"{prompt.text} …"),
            ("Subject", subject),
            ("Known", f"the model answers {len(stored)} of the atlas’ {n_facts} facts right; this is one of them"),
            ("Done", f"noise on the subject’s embedding ({N_SAMPLES} draws); then the residual stream is put back as "
             "it was, at one place, a quarter of the way up or three quarters"),
            ("Control", "the first word, put back in the same way"),
            ("And by head", f"{head.label}, which costs facts most, against {labels(control)}, "
             f"{whence([head], control)}, whose removal changes them least"),
        ),
        prompt,
        heads=(head,),
        control=control,
        family="fact",
    )  # fmt: skip


def run(model: HeadModel, plan: Plan) -> Finding:
    """Causal tracing at three places and two heights; then one head against its control."""
    from head_atlas.live import causal_trace

    prompt = plan.prompt
    assert not isinstance(prompt, str)
    subject = tuple(prompt.annotations["subject"])
    rows: tuple[Row, ...] = ()
    trace = causal_trace(model, prompt, subject, metric="logprob", n_samples=N_SAMPLES)
    removed, instead = without(model, prompt, plan.heads), without(model, prompt, plan.control)
    if trace.undefined:
        outcome = ""
        said = f"On this prompt the noise does not take the answer away, so nothing comes back: {trace.undefined}."
    else:
        values = np.asarray(trace.values.values)
        n = model.n_layers
        early, late, first = max(1, n // 4) if n > 1 else 0, (3 * n) // 4, len(model.policy.prefix)
        places = ((quoted(trace.strings[subject[-1]]), subject[-1]), ("the last word", len(prompt) - 1))
        rows = tuple(
            Row(f"{name} put back in layer {layer}", kind, _bar(x := float(values[layer, at])), _share(x))
            for layer in (early, late)
            for (name, at), kind in zip(places, ("clean", "ablated"), strict=True)
        ) + tuple(
            Row(f"the first word put back in layer {layer} (control)", "control", _bar(x), _share(x))
            for layer, x in ((layer, float(values[layer, first])) for layer in (early, late))
            if first not in subject
        )
        up, down = values[late], values[early]
        at_subject, at_end = subject[-1], len(prompt) - 1
        if down[at_subject] >= 0.5 and up[at_end] >= 0.5 and up[at_subject] < 0.5:
            outcome = "moves"
        elif up[at_subject] >= 0.5:
            outcome = "stays"
        else:
            outcome = "other"
        said = (
            f"In layer {early}, putting {places[0][0]} back returns {_share(down[at_subject])} of what the noise took, "
            f"and the last word {_share(down[at_end])}. In layer {late}, {places[0][0]} returns "
            f"{_share(up[at_subject])}, the last word {_share(up[at_end])}."
        )
    groups = [("And without one head?  " + asked_next(model, removed), three_rows(model, removed, instead))]
    if rows:
        groups.insert(0, ("How much of the answer’s log-probability comes back?", rows))
    return Finding(words_of(model, removed), tuple(groups), outcome, said)


def _bar(value: float) -> float:
    return float(np.clip(value, 0, 1)) if np.isfinite(value) else 0.0


def _share(value: float) -> str:
    return f"{plain(100 * float(value), 0)} %"


CHAPTER = Chapter(
    "facts",
    "Where facts sit",
    (
        Section("", (
            "Ask a model for the capital of England and it says London. Where was that kept? Not in one drawer: it is "
            "spread over the weights. But while the model reads, the fact has to pass somewhere on its way from the "
            "word “England” to the place where the answer is due, and that can be watched.",
            "The method is called causal tracing. First drown the subject: add noise to its embedding, and the answer "
            "is lost. Then run again with the same noise, but put one inner state back as it was: one place, one "
            "layer. If the answer returns, what was needed passed through there.",
            "In GPT-2 XL, with 48 layers, Meng and colleagues found that the MLPs of the middle layers matter most, at "
            "the last token of the subject: they seem to look the fact up. Later, attention carries it to the end of "
            "the sentence.",
        )),
        Section("In this model", (
            "A model of a few layers, like the demo model with its four, need not do it in the same places. Ask only: "
            "where is it at first, and where towards the end?",
        )),
    ),
    "Predict: where is the fact on its way through the layers? (There, putting one state back returns half or more.)",
    CHOICES,
    plan,
    run,
    (
        "Putting a state back shows that it suffices, not that the fact is stored there; where facts are best changed "
        "was found to have little to do with where tracing finds them. High up, the last word must bring it back, as "
        "little is left to read; how early it does can surprise. A head that costs facts much may merely carry "
        "the subject.",
    ),
    ("meng2022", "hase2023", "geva2021", "geva2023", "vig2020", "heimersheim2024", "zhang2023"),
    "Another fact",
)  # fmt: skip
