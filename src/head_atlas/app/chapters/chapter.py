"""What a chapter of the Learn tab is: a short text, and an experiment that a prediction stands or falls with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from head_atlas.heads import HeadId

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.prompts.prompt import Prompt
    from head_atlas.store import Atlas


@dataclass(frozen=True)
class Section:
    """A few paragraphs under a heading, which may be empty.

    Attributes:
        heading: of the paragraphs.
        paragraphs: plain text.
        of_experiment: whether they speak of the experiment below, and so of nothing where a model has none.
    """

    heading: str
    paragraphs: tuple[str, ...]
    of_experiment: bool = False


@dataclass(frozen=True)
class Plan:
    """One experiment, filled in: everything is decided before the model runs.

    Attributes:
        facts: what the visitor is told of it before predicting: pairs of label and text.
        prompt: text, or a stored prompt; "" where the experiment has none.
        target: text of the expected token, whose first piece is measured; "" for what the prompt itself says, or for
            the model's first choice.
        heads: that are removed or looked at, the most telling first.
        control: as many others.
        family: of the atlas, whose stored effects on these heads stand below the result; "" for none.
        second: another prompt, where the experiment compares two.
        readers: heads whose attention is read, where the experiment reads any.
    """

    facts: tuple[tuple[str, str], ...]
    prompt: str | Prompt = ""
    target: str = ""
    heads: tuple[HeadId, ...] = ()
    control: tuple[HeadId, ...] = ()
    family: str = ""
    second: Prompt | None = None
    readers: tuple[HeadId, ...] = ()

    @property
    def text(self) -> str:
        """The prompt as text, for the Lab."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt.text


@dataclass(frozen=True)
class Row:
    """One bar of a result.

    Attributes:
        label: what was done, or what is measured.
        kind: "clean", "ablated" or "control".
        value: length of the bar, in [0, 1].
        text: the number in words.
        says: a remark, for instance the model's first choice.
    """

    label: str
    kind: str
    value: float
    text: str
    says: str = ""


@dataclass(frozen=True)
class Finding:
    """What came out.

    Attributes:
        tokens: of the prompt, without BOS; the first of two where there are two.
        groups: questions, each with its rows.
        outcome: which of the chapter's choices came true; "" where the run cannot decide.
        said: the numbers and what they mean, in a few sentences.
        then: whether a next token is asked for after `tokens`.
    """

    tokens: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    outcome: str
    said: str
    then: bool = True


@dataclass(frozen=True)
class Chapter:
    """One chapter.

    Attributes:
        name: in the address.
        title: of the chapter.
        story: before the experiment.
        question: that is predicted.
        choices: what can be predicted, by name; each is defined so that a run decides it.
        plan: fills the experiment in from an atlas and a number; raises HeadAtlasError with a sentence where the
            atlas, or its model, lacks what the chapter is about: then nothing is run, and no prediction is judged.
        run: does the experiment.
        after: what the experiment does and does not show.
        papers: keys of `catalogue.reading.PAPERS`.
        again: label of the button that fills in another prompt; "" for none.
        panel: a card from the atlas beyond effects, if any.
    """

    name: str
    title: str
    story: tuple[Section, ...]
    question: str
    choices: Mapping[str, str]
    plan: Callable[[Atlas, int], Plan]
    run: Callable[[HeadModel, Plan], Finding]
    after: tuple[str, ...]
    papers: tuple[str, ...]
    again: str = "Other words"
    panel: Callable[[Atlas], dict] | None = None
