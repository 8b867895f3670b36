"""Roles of heads: what counts as evidence for each. Pure data; `measures.roles` weighs it.

A role is not a label but three questions with an answer each: does the head *attend* like one (pattern), does it
*write* like one (weights, direct logit), does it *matter* for what such heads are for (ablation)? Every criterion
names one number, and what it has to be. Those marked `required` decide whether the head holds the role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["attends", "writes", "matters"]
GRADES: tuple[Grade, ...] = ("attends", "writes", "matters")
UNJUDGED: dict[Grade, str] = {
    "attends": "not measured",
    "writes": "not measured",
    "matters": "not judged: not measured, or the model does not solve these prompts",
}
"""By grade: why it has no answer, where there is none."""

ROLE_MODES = ("resample", "mean", "zero")
"""Roles are judged by the effects of the first of these modes that was measured: what other text would have put there
stays within what later layers know; a mean lies off the data, and 0 far off."""

SMALLEST_SCORE = 0.1
"""The lower bound of a score has to reach this, whatever its null: heads of random models stay under it."""

SMALLEST_EFFECT = 0.01
"""Share of the clean logit difference (or nats per token) under which an effect, however certain, counts as none."""

SMALL_WRITE = 0.1
"""A head writes little if the norm of its output is under this share of the median of its layer's heads."""

SOLVED = 0.75
"""A family counts as solved where the share of its prompts with y above y' has a lower bound of at least this."""


@dataclass(frozen=True)
class Criterion:
    """One number, and what it has to be.

    Attributes:
        grade: the question that it answers.
        measure: name of the number.
        where: prompt family or relation that it is measured on; "" for weights.
        number: what it is called in a sentence.
        unit: of the number, in a sentence.
        sign: 1 if it has to be high, -1 if low, 0 if far from zero on either side.
        floor: the near end of the 95 % interval, times the sign, has to reach this and the 99th percentile of the
            null, and lie beyond 0; None if the interval does not matter.
        least: the number itself, times the sign, has to reach this; None if any will do.
        tested: it has a null, and q < 0.05 over the heads of the model is needed. Where a number comes with a p
            value, q < 0.05 is needed in any case.
        relative: it is taken as a share of the clean logit difference of the family, and only where the model
            solves the family.
        required: the head holds the role only if this is met.
    """

    grade: Grade
    measure: str
    where: str = ""
    number: str = ""
    unit: str = ""
    sign: int = 1
    floor: float | None = SMALLEST_SCORE
    least: float | None = None
    tested: bool = False
    relative: bool = False
    required: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """How measured numbers are looked up."""
        return self.measure, self.where


@dataclass(frozen=True)
class Role:
    """A job that heads are known to do, or a state that they can be in.

    Attributes:
        name: as in files.
        label: as in a sentence, with its article.
        sentence: what such a head does.
        criteria: the first gives the strength of membership.
        sources: where it was defined.
        pitfall: how it is misread.
        unasked: by grade, why a question has no criterion.
        state: True for a state rather than a job; states do not count as roles.
        yields_to: roles that describe the same behaviour more precisely; a head that holds one of them does not
            hold this one.
        read_later: it acts through later heads, so it does not apply to heads of the last layer.
    """

    name: str
    label: str
    sentence: str
    criteria: tuple[Criterion, ...]
    sources: str
    pitfall: str
    unasked: tuple[tuple[Grade, str], ...] = ()
    state: bool = False
    yields_to: tuple[str, ...] = ()
    read_later: bool = False

    def of(self, grade: Grade) -> tuple[Criterion, ...]:
        """The criteria of one grade."""
        return tuple(criterion for criterion in self.criteria if criterion.grade == grade)


@dataclass(frozen=True)
class State:
    """A state that follows from the roles and effects of a head.

    Attributes:
        name: as in files.
        label: as in a sentence.
        definition: exactly what has to hold.
        words: the same of one head, in a sentence; "{families}" stands for those that its effect is felt on.
        pitfall: how it is misread.
    """

    name: str
    label: str
    definition: str
    words: str
    pitfall: str


def _attends(
    measure: str,
    where: str,
    number: str = "excess",
    *,
    floor: float = SMALLEST_SCORE,
    least: float | None = None,
    required: bool = True,
) -> Criterion:
    return Criterion("attends", measure, where, number, floor=floor, least=least, tested=True, required=required)


def effect_on(family: str, sign: int = -1, *, required: bool = False) -> Criterion:
    """An effect on a family's logit difference: its interval excludes 0, and it is at least 1 % of the clean one."""
    return Criterion(
        "matters",
        "logit_difference",
        family,
        "logit difference",
        sign=sign,
        floor=0.0,
        least=SMALLEST_EFFECT,
        relative=True,
        required=required,
    )


def effect_on_natural(sign: int = -1, *, least: float | None = SMALLEST_EFFECT, required: bool = False) -> Criterion:
    """An effect on the log-probability of the tokens of natural text, which has no wrong answers to compare with."""
    return Criterion(
        "matters",
        "logprob",
        "natural",
        "log-probability",
        "nats",
        sign=sign,
        floor=0.0,
        least=least,
        required=required,
    )


_READ_BY_HEADS = "what it writes is read by later heads rather than by the unembedding; no score of its own tells"
_WANG = "Wang et al. 2022, Interpretability in the Wild"

_RELATIONS: tuple[tuple[str, Criterion], ...] = (
    ("subject-verb", effect_on("subject_verb")),
    ("determiner-noun", effect_on_natural()),
    ("pronoun-antecedent", effect_on("pronoun")),
    ("verb-object", effect_on("verb_object")),
    ("adjective-noun", effect_on_natural()),
)
"""Relations, and where a head that follows one should matter."""


_EVEN = (
    Criterion("attends", "diffuse_sink_free", "natural", "evenness", floor=None, least=0.8, required=True),
    Criterion(
        "attends", "non_sink", "natural", "attention off the first position", floor=None, least=0.3, required=True
    ),
)
"""Without the first position, entropy at least 0.8 of the largest; and at least 0.3 of the attention left for it."""


def _syntactic(relation: str, direction: str, matters: Criterion) -> Role:
    looking, sought = relation.split("-") if direction == "first_to_second" else relation.split("-")[::-1]
    article = "an" if looking[0] in "aeiou" else "a"
    return Role(
        f"syntactic_{looking}_to_{sought}",
        f"{article} {looking}-to-{sought} head",
        f"From {article} {looking} it attends most to the {sought} that belongs to it.",
        (
            _attends(
                "syntactic_gain", f"{relation}:{direction}", "gain over the best fixed offset", floor=0.0, least=0.1
            ),
            matters,
        ),
        "Clark et al. 2019, What Does BERT Look At?; Voita et al. 2019, Analyzing Multi-Head Self-Attention",
        "Accuracy alone means little where the related word stands at a usual distance: read the gain over the "
        "best fixed offset. A causal model looks back only, so word order decides which direction occurs.",
        (("writes", _READ_BY_HEADS),),
    )


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role(
            "previous_token",
            "a previous-token head",
            "It attends to the token just before.",
            (_attends("previous_token_excess", "rand_flat"), effect_on("rand_repeat")),
            "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
            "Measured on random tokens; on text it may do so only where the tokens ask for it.",
            (("writes", _READ_BY_HEADS),),
        ),
        Role(
            "induction",
            "an induction head",
            "It finds an earlier copy of the current token and raises the token that followed.",
            (
                _attends("induction_excess", "rand_repeat"),
                Criterion("writes", "induction_copy", "rand_repeat", "copying", "logits", floor=0.0, required=True),
                effect_on("rand_repeat"),
            ),
            "Olsson et al. 2022, In-context Learning and Induction Heads",
            "A head that looks there and lowers what it finds (anti-induction) attends like one but does not hold "
            "the role.",
        ),
        Role(
            "duplicate_token",
            "a duplicate-token head",
            "It attends to earlier copies of the current token.",
            (_attends("duplicate_token_excess", "rand_repeat"), effect_on("ioi")),
            _WANG,
            "Looking at a copy is not yet using it: see what removing the head does.",
            (("writes", _READ_BY_HEADS),),
        ),
        Role(
            "current_token",
            "a current-token head",
            "It attends to the current token itself.",
            (_attends("current_token_excess", "rand_flat"), effect_on_natural()),
            "Vig and Belinkov 2019, Analyzing the Structure of Attention in a Transformer Language Model; as a role: "
            "this project",
            "It moves nothing between positions: what it does an MLP could do.",
            (("writes", _READ_BY_HEADS),),
        ),
        Role(
            "positional",
            "a positional head",
            "Its largest attention is at one fixed distance.",
            (_attends("positional", "natural", "share at one offset", floor=0.9), effect_on_natural()),
            "Voita et al. 2019, Analyzing Multi-Head Self-Attention",
            "A previous-token or current-token head is one, and is counted under that name only.",
            (("writes", _READ_BY_HEADS),),
            yields_to=("previous_token", "current_token"),
        ),
        *(
            _syntactic(relation, direction, matters)
            for relation, matters in _RELATIONS
            for direction in ("second_to_first", "first_to_second")
        ),
        Role(
            "name_mover",
            "a name mover",
            "From the end of the prompt it attends to the name that answers, and copies it.",
            (
                _attends("end_to_io_excess", "ioi"),
                Criterion("writes", "ov_copy", "", "copied tokens in the top 5", required=True),
                Criterion("writes", "direct_logit", "ioi", "direct logit", "logits", floor=0.0, required=True),
                effect_on("ioi"),
            ),
            _WANG,
            "Backup heads take over when one is removed: a small effect is not unimportance.",
        ),
        Role(
            "s_inhibition",
            "an S-inhibition head",
            "From the end of the prompt it attends to the repeated name, and keeps movers from copying it.",
            (
                _attends("end_to_s2_excess", "ioi"),
                effect_on("ioi", required=True),
                Criterion(
                    "matters",
                    "indirect_effect",
                    "ioi",
                    "logit difference, its own direct share left out,",
                    sign=-1,
                    floor=0.0,
                    least=SMALLEST_EFFECT,
                    relative=True,
                    required=True,
                ),
            ),
            _WANG,
            "That it works through later layers is shown, that it does so through the movers' queries is not: patch "
            "the path to see it.",
            (("writes", _READ_BY_HEADS),),
            read_later=True,
        ),
        Role(
            "successor",
            "a successor head",
            "It raises the next member of an ordered list: days, months, numbers.",
            (
                Criterion(
                    "writes",
                    "direct_logit",
                    "successor",
                    "share of the logit difference",
                    floor=0.0,
                    least=0.1,
                    relative=True,
                    required=True,
                ),
                effect_on("successor", required=True),
            ),
            "Gould et al. 2023, Successor Heads",
            "Here it is seen in prompts that list a few members; the source reads it from the weights.",
            (("attends", "it may read the last member from wherever earlier layers have put it"),),
        ),
        Role(
            "copy_suppression",
            "a copy-suppression head",
            "It lowers tokens that are in the prompt and that earlier layers already predict.",
            (
                Criterion("writes", "negative_ov_copy", "", "suppressed tokens in the lowest 5", required=True),
                Criterion("writes", "direct_logit", "ioi", "direct logit", "logits", sign=-1, floor=0.0, required=True),
                _attends("end_to_io_excess", "ioi", required=False),
                effect_on("ioi", 1),
            ),
            "McDougall et al. 2023, Copy Suppression: Comprehensively Understanding an Attention Head",
            "It looks harmful on a task whose answer is in the prompt; on all text it guards against over-confident "
            "copying.",
        ),
        Role(
            "sink",
            "a head that rests on the first position",
            "At least half of its attention, on average, lies on the first position.",
            (
                Criterion(
                    "attends",
                    "sink",
                    "natural",
                    "attention to the first position",
                    floor=None,
                    least=0.5,
                    required=True,
                ),
            ),
            "Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks",
            "A head can rest most of the time and matter when it does not.",
            (("writes", "a state of attention"), ("matters", "a state of attention")),
            state=True,
        ),
        Role(
            "diffuse",
            "a diffuse head",
            "It spreads its attention over nearly all tokens before it.",
            _EVEN,
            "Clark et al. 2019, What Does BERT Look At?",
            "Every untrained head is diffuse.",
            (("writes", "a state of attention"), ("matters", "see bag of words")),
            state=True,
        ),
        Role(
            "bag_of_words",
            "a bag-of-words head",
            "It averages over nearly all tokens before it, and what it writes matters on natural text.",
            (*_EVEN, effect_on_natural(0, least=None, required=True)),
            "Clark et al. 2019, What Does BERT Look At?",
            "A state rather than a job: the average may be used for anything. Its effect has to be sure, not large: "
            "read how large it is.",
            (("writes", "an average has no direction of its own to test"),),
            state=True,
        ),
    )
}
"""Jobs first, then states; the order in files and on screen."""

STATES: dict[str, State] = {
    state.name: state
    for state in (
        State(
            "dormant",
            "dormant",
            "holds none of the roles that could be judged and is no bag-of-words head; the norm of what it writes on "
            "natural text is under 10 % of the median of its layer's heads; and its effect is felt on no family",
            "is dormant: it writes little, and its effect is felt on no family",
            "Dormant on these prompts: other text may wake it.",
        ),
        State(
            "decorative",
            "decorative",
            "holds a role, was removed on the diagnostic family of every role that it holds, and its effect is felt on "
            "none, nor on any other family",
            "is decorative: its effect is felt on no family",
            "Other heads may step in when one is removed: remove several before calling a head useless.",
        ),
        State(
            "unexplained",
            "unexplained",
            "its effect is felt on a family, yet it holds none of the roles that could be judged and is no "
            "bag-of-words head",
            "is unexplained: its effect is felt on {families}",
            "It says that no role of this list fits, not that the head does nothing nameable.",
        ),
    )
}
FELT = (
    "An effect is *felt* on a family where its 95 % interval excludes 0, it is at least 1 % of the clean logit "
    "difference (on natural text: 0.01 nats per token), q <= 0.05 over heads and families, and the model solves the "
    "family: the share of prompts with y above y' has a lower bound of at least 0.75."
)
