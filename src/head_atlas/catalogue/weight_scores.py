"""Scores read from weights: no prompt."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

_ELHAGE = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits"
_WANG = "Wang et al. 2022, Interpretability in the Wild"
_HEAD = ("layer", "head")
_RANKED = ("layer", "head", "rank")
_ALONE = "x_t = e_t in layer 0, else e_t + MLP0(LN e_t)"


def _score(
    name: str,
    label: str,
    unit: str,
    bounds: tuple[float | None, float | None],
    formula: str,
    source: str,
    sentence: str,
    pitfall: str,
    axes: tuple[str, ...] = _HEAD,
) -> Measure:
    low, high = bounds
    return Measure(
        name=name,
        label=label,
        kind="score",
        axes=axes,
        unit=unit,
        low=low,
        high=high,
        signed=low is None or low < 0,
        formula=formula,
        source=source,
        sentence=sentence,
        pitfall=pitfall,
        measured_on="weights",
    )


WEIGHT_SCORES: dict[str, Measure] = by_name(
    [
        _score(
            "ov_copy_eig",
            "OV copying (eigenvalues)",
            "share",
            (-1.0, 1.0),
            "sum Re(lambda) / sum |lambda|, lambda the eigenvalues of W_O W_U W_E W_V, the gains of norms folded in",
            _ELHAGE,
            "Whether reading a token raises that same token (1), lowers it (-1), or neither, over the vocabulary.",
            "Tied embeddings and the first MLP distort it, and the mean token alone can make it near 1 or -1 with the "
            "tokens' labels permuted: read it against that null and beside ov_copy. NaN where a head writes nothing.",
        ),
        _score(
            "ov_copy",
            "OV copying (top 5)",
            "share of tokens",
            (0.0, 1.0),
            f"share of tokens t in the top 5 of LN_f(LN_l(x_t) W_V W_O) W_U, {_ALONE}; over a seeded sample of 1024 "
            "tokens, or the whole vocabulary",
            _WANG,
            "How often the head, if it reads a token, makes that same token one of its five favourites.",
            "It says what would happen if the head read the token, not that it ever does. By chance 5 / d_vocab; the "
            "null permutes the tokens' labels. A sampled share has a standard error of up to 0.016.",
        ),
        _score(
            "negative_ov_copy",
            "negative OV copying (top 5)",
            "share of tokens",
            (0.0, 1.0),
            f"share of tokens t in the top 5 of LN_f(-LN_l(x_t) W_V W_O) W_U, {_ALONE}; same tokens as ov_copy",
            f"{_WANG}; McDougall et al. 2023, Copy Suppression",
            "How often the head, if it reads a token, makes that same token one of the five it lowers most.",
            "A sign of copy suppression only together with a negative direct logit where the token is predicted.",
        ),
        _score(
            "qk_norm",
            "norm of QK",
            "Frobenius norm",
            (0.0, None),
            "|W_Q W_K^T|, the gain and centring of the norm in front folded in; biases, scaling and rotations left out",
            _ELHAGE,
            "How strongly the head's attention can depend on what tokens are.",
            "Comparable between heads of one model, not between models. NaN where queries or keys are normalised.",
        ),
        _score(
            "ov_norm",
            "norm of OV",
            "Frobenius norm",
            (0.0, None),
            "|W_V W_O|, the gains of norms in front and behind folded in, writes centred where the final norm centres",
            _ELHAGE,
            "How much the head can write of what it reads.",
            "A large norm is no large effect: later norms rescale, and the head may look at nothing it writes of.",
        ),
        _score(
            "qk_effective_rank",
            "effective rank of QK",
            "dimensions",
            (1.0, None),
            "exp entropy of the singular values of W_Q W_K^T over their sum",
            "Roy and Vetterli 2007, The Effective Rank",
            "How many dimensions of tokens the head's attention compares.",
            "Random matrices come near d_head: a high rank is no sign of a job.",
        ),
        _score(
            "ov_effective_rank",
            "effective rank of OV",
            "dimensions",
            (1.0, None),
            "exp entropy of the singular values of W_V W_O over their sum",
            "Roy and Vetterli 2007, The Effective Rank",
            "How many dimensions of what it reads the head carries over.",
            "Random matrices come near d_head: a high rank is no sign of a job.",
        ),
        _score(
            "qk_offset",
            "attention logit by distance, from weights",
            "logits",
            (None, None),
            "mean over queries of logit[i, i-d] - mean over d of it, d = 0..31, every position reading the same "
            "average token: LN(W_pos + mean W_E) with learned positions, else mean over t of LN(e_t)",
            f"this project, after {_ELHAGE}",
            "Which distances the head favours by position alone.",
            "Average content stands in for the residual stream: later layers read something else. NaN beyond a window.",
            ("layer", "head", "distance"),
        ),
        _score(
            "promoted_tokens",
            "promoted tokens",
            "token id",
            (0.0, None),
            f"top 10 of the mean over t of LN_f(LN_l(x_t) W_V W_O) W_U, LN_f's bias left out, {_ALONE}",
            f"this project, after {_ELHAGE}",
            "The tokens that the head raises most on average, whatever it reads.",
            "An average over the vocabulary: a head that writes something else for every token has an empty mean.",
            _RANKED,
        ),
        _score(
            "promoted_logits",
            "logits of promoted tokens",
            "logits",
            (None, None),
            "the mean of promoted_tokens at each of them, minus its mean over the vocabulary",
            f"this project, after {_ELHAGE}",
            "By how much the head raises these tokens on average.",
            "LN_f sees the head's write alone, as if it were the whole stream: sizes mean little, the order does.",
            _RANKED,
        ),
        _score(
            "suppressed_tokens",
            "suppressed tokens",
            "token id",
            (0.0, None),
            "as promoted_tokens, the lowest 10",
            f"this project, after {_ELHAGE}",
            "The tokens that the head lowers most on average, whatever it reads.",
            "An average over the vocabulary: a head that writes something else for every token has an empty mean.",
            _RANKED,
        ),
        _score(
            "suppressed_logits",
            "logits of suppressed tokens",
            "logits",
            (None, None),
            "as promoted_logits, of the suppressed tokens",
            f"this project, after {_ELHAGE}",
            "By how much the head lowers these tokens on average.",
            "LN_f sees the head's write alone, as if it were the whole stream: sizes mean little, the order does.",
            _RANKED,
        ),
        _score(
            "composition",
            "Q, K and V composition",
            "ratio",
            (-1.0, 1.0),
            "|W_OV W_QK|, |W_OV W_QK^T| or |W_OV W_OV'| over the product of both norms, minus 1 / sqrt(d_model); norms "
            "folded in, writes centred where the final norm centres",
            _ELHAGE,
            "How much more than by chance a later head's queries, keys or values come from what an earlier one writes.",
            "Weights that fit need not be used together: test the pair. Rotary positions turn queries and keys between "
            "the two matrices, so Q and K hold for one position only.",
            ("kind", "layer_from", "head_from", "layer", "head"),
        ),
    ]
)
