"""What shows a head by example: prompts, patterns, tokens. Measured on any text, the user's or a family's."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

_HEAD = ("layer", "head")
_HEADVIS = "Luger et al. 2026, HeadVis"
_TOKENS = ("side", "order", *_HEAD, "token_rank")
_ATTENTION = "attention probability"


def _shown(
    name: str,
    label: str,
    axes: tuple[str, ...],
    unit: str,
    high: float | None,
    formula: str,
    source: str,
    sentence: str,
    pitfall: str,
) -> Measure:
    return Measure(
        name=name,
        label=label,
        kind="score",
        axes=axes,
        unit=unit,
        low=0.0,
        high=high,
        signed=False,
        formula=formula,
        source=source,
        sentence=sentence,
        pitfall=pitfall,
    )


EXEMPLARS: dict[str, Measure] = by_name(
    [
        _shown(
            "largest_attention",
            "largest attention",
            (*_HEAD, "prompt"),
            _ATTENTION,
            1.0,
            "max over i >= 1 and 1 <= j <= i of pattern[i, j], rounded to 2^-13",
            _HEADVIS,
            "The strongest single look of the head on a prompt, the first position left out.",
            "A largest value grows with the length of the prompt, and the second position has little else to look at: "
            "a high one alone says little.",
        ),
        _shown(
            "exemplar_band",
            "band of an exemplar",
            ("exemplar",),
            "band, 1 the lowest",
            None,
            "prompts in order of largest_attention, cut into bands of equal frequency; the top of the highest, and of "
            "each other an even sample without replacement; 0: the largest drops by effect, ablated - "
            "clean < 0: of the log-probability, in an atlas in its role_mode, without families whose logit "
            "difference the clean model does not solve",
            _HEADVIS + "; band 0: this project",
            "From which part of the head's range a prompt was taken.",
            "The top shows the head at its clearest, not at its most usual: look at the lower bands too.",
        ),
        _shown(
            "exemplar_pattern",
            "pattern of an exemplar",
            ("exemplar_entry",),
            _ATTENTION,
            1.0,
            "pattern[i, j] rounded to 2^-13, for the 8 largest keys of each query with a weight >= 0.005",
            _HEADVIS,
            "Where the head looks on that prompt.",
            "Not all of a row is kept: row_dropped says how much of its attention is missing.",
        ),
        _shown(
            "largest_histogram",
            "histogram of the largest attention",
            (*_HEAD, "largest_bin"),
            "prompts",
            None,
            "number of prompts with k / 20 <= largest_attention < (k + 1) / 20, k = 0..19; 1 counts in the last",
            _HEADVIS,
            "On how many prompts the head looks hard at something.",
            "Prompts of different lengths are in one histogram.",
        ),
        _shown(
            "attention_by_distance",
            "attention by distance, in powers of two",
            (*_HEAD, "distance_bin"),
            _ATTENTION,
            1.0,
            "mean over prompts of the mean over i >= 1 of sum over j >= 1 with |i - j| in the bin of pattern[i, j]; "
            "bins 0, 1, 2-3, 4-7, ..., 4096+. With the sink score, which takes key 0, the bins add up to 1",
            _HEADVIS + ", qk_distance_histogram; log bins and the even head beside it: this project",
            "How far back the head looks, as shares of its attention.",
            "Wide bins hold more keys and far ones need long prompts: compare with distance_uniform, the same of a "
            "head that attends evenly on these prompts.",
        ),
        _shown(
            "token_share",
            "tokens by share",
            _TOKENS,
            "share of the head's attention beside key 0",
            1.0,
            "sum over i, j >= 1 with token_i = t (query) or token_j = t (key) of pattern[i, j], over its sum for all t",
            _HEADVIS,
            "From which tokens the head looks, or at which it looks, by how much of its attention they make up.",
            "Totals favour frequent tokens: every head seems to look at commas. Read the lift.",
        ),
        _shown(
            "token_lift",
            "tokens by lift",
            _TOKENS,
            "ratio, 1 for a head that attends evenly",
            None,
            "token_share of the head over token_share of a head that attends evenly to all it can see; ranked among "
            "tokens that occur 5 times or more",
            "this project",
            "How many times more attention a token makes up than it would in a head without preferences.",
            "Of a rare token a few places decide: read the count beside it.",
        ),
    ]
)
