"""Public calls that run a model: one at a time, within the Lab's limits of length and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from head_atlas.app.lab_bench import Bench, bench_for, number, option
from head_atlas.app.lab_generation import MOST_TOKENS
from head_atlas.app.lab_patching import DIRECTIONS, PLACES, pair_arguments
from head_atlas.app.lab_running import in_background, result_of
from head_atlas.app.lab_tokens import BASELINES, METHODS
from head_atlas.app.lab_view import Asked, asked
from head_atlas.catalogue import ATTRIBUTIONS, EFFECTS
from head_atlas.errors import HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.views.numbers import finite

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.live.experiment import Ablation
    from head_atlas.live.generation import Continuation

T = TypeVar("T")
Result = dict[str, Any]
NO_CONTRAST = "no contrast was given"
SWEEPS = ("exact", "first_order")
MOST_TOP, TOP_HEADS = 20, 10


class ExperimentCalls:
    """These calls need a model, not an atlas; the first one loads it, which takes a while.

    Args:
        engine: lends the models, and knows the limits.
    """

    NAMES = ("ablate", "sweep", "attribute", "attention", "logit_lens", "generate", "patch")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _run(self, work: Callable[[Bench], T], model: str, prompt: str, **experiment: str) -> T:
        """Check an experiment and run it, in a thread of its own that stops at the time limit."""
        names = ("heads", "mode", "target", "contrast", "corrupted")
        given = {"mode": "zero", **experiment}
        name = model or self._engine.library.default
        what = asked(self._engine, name, prompt, *(given.get(each, "") for each in names))
        return result_of(
            in_background(
                self._engine, name, lambda held, progress: work(bench_for(self._engine, held, what, progress))
            )
        )

    def ablate(
        self,
        prompt: str,
        heads: str = "",
        mode: str = "zero",
        target: str = "",
        contrast: str = "",
        corrupted: str = "",
        model: str = "",
    ) -> dict[str, Any]:
        """Remove attention heads, all at once, and compare the model's next token with and without them.

        Args:
            prompt: the text that the model continues.
            heads: heads to remove, such as "2.5, L2H1"; empty removes none.
            mode: "zero" (the heads' output becomes 0), "mean" (its average over natural text), "resample" (what it is
                on another prompt, where the atlas has a reference) or "pattern_freeze" (its values mixed by the
                pattern of the corrupted prompt).
            target: one token to measure, with its leading space, or "token id 17"; empty takes the unablated model's
                first choice.
            contrast: one token to hold it against, likewise; needed for the logit difference.
            corrupted: a prompt of as many tokens, for pattern_freeze.
            model: name of a served model; empty for the default.

        Returns:
            what was run (model, prompt, tokens, heads, mode, target and contrast with their ids, warning); effects by
            metric, ablated - clean, with their units, and the clean values; null with a reason in reasons; top: the
            ten likeliest tokens of either run with their ids and both probabilities. In resample mode effects and
            probabilities are means over draws, the reference prompts that stand in, and intervals are the effects'
            95 % intervals over them: not over prompts like yours, and too narrow with few draws; null with one.

        Example:
            client.predict("Harry Potter went home. Everyone knew Harry", heads="0.4", api_name="/ablate")
        """

        def work(bench: Bench) -> Result:
            from head_atlas.live import ablate

            found = ablate(bench.model, bench.prompt, bench.what.heads, bench.what.mode, reference=bench.reference)
            top = found.top(10)
            return _described(bench) | {
                "effects": {name: finite(x) for name, x in found.effects.items()},
                "draws": found.n_draws,
                "intervals": _intervals(found),
                "units": {name: EFFECTS[name].unit for name in found.effects},
                "clean": {name: finite(x) for name, x in found.clean.items()},
                "reasons": _reasons(bench),
                "top": [
                    {"token": one.text, "id": one.token, "clean": one.clean, "ablated": one.ablated} for one in top
                ],
            }

        return self._run(
            work, model, prompt, heads=heads, mode=mode, target=target, contrast=contrast, corrupted=corrupted
        )

    def sweep(
        self,
        prompt: str,
        mode: str = "zero",
        target: str = "",
        contrast: str = "",
        method: str = "exact",
        corrupted: str = "",
        model: str = "",
    ) -> dict[str, Any]:
        """Remove every head of the model alone on one prompt, and measure what each removal changes.

        Args:
            prompt: the text that the model continues.
            mode: as in ablate.
            target: one token to measure, with its leading space; empty takes the unablated model's first choice.
            contrast: one token to hold it against; needed for the logit difference.
            method: "exact" (each head is removed) or "first_order" (an estimate from one backward pass).
            corrupted: a prompt of as many tokens, for pattern_freeze.
            model: name of a served model; empty for the default.

        Returns:
            what was run, as in ablate; effects (exact) or estimates (first_order, of logit_difference and logprob only)
            by metric: arrays over layer and head, ablated - clean, in resample mode means over draws, with their units,
            null with a reason in reasons; ranked_by (logit_difference with a contrast, else logprob), and largest: the
            ten heads of largest magnitude by it. n is one prompt, so there are no intervals.

        Example:
            client.predict("Harry Potter went home. Everyone knew Harry", target=" Potter", api_name="/sweep")
        """
        option(method, SWEEPS, "method")

        def work(bench: Bench) -> Result:
            from head_atlas.live.plain_values import plain
            from head_atlas.measures.effects import sweep
            from head_atlas.measures.estimates import ESTIMATED, estimate

            arguments = (bench.what.mode,)
            if method == "exact":
                done = sweep(bench.model, bench.prompt, *arguments, reference=bench.reference, progress=bench.progress)
                found = done.effects
            else:
                names = [name for name in ESTIMATED if name != "logit_difference" or bench.prompt.contrasts]
                found = {
                    name: estimate(bench.model, bench.prompt, name, *arguments, reference=bench.reference)
                    for name in names
                }
            arrays = {name: array.sel(prompt=0) for name, array in found.items()}
            main = "logit_difference" if bench.prompt.contrasts else "logprob"
            return _described(bench) | {
                "method": method,
                "draws": getattr(bench.reference, "n_draws", 1),
                ("effects" if method == "exact" else "estimates"): {
                    name: None if name in _reasons(bench) else plain(array) for name, array in arrays.items()
                },
                "units": {name: EFFECTS[name].unit for name in arrays},
                "reasons": _reasons(bench),
                "ranked_by": main,
                "largest": _largest(np.asarray(arrays[main].values, dtype=float)),
            }

        return self._run(work, model, prompt, mode=mode, target=target, contrast=contrast, corrupted=corrupted)

    def attribute(
        self,
        prompt: str,
        method: str = "integrated_gradients",
        target: str = "",
        contrast: str = "",
        heads: str = "",
        mode: str = "zero",
        baseline: str = "mean",
        corrupted: str = "",
        model: str = "",
    ) -> dict[str, Any]:
        """Attribute the next token to the prompt's tokens: a decomposition, not an effect of any head.

        Args:
            prompt: the text that the model continues.
            method: "integrated_gradients", "gradient_x_input", "saliency", "occlusion_replace", "occlusion_mask" or
                "occlusion_delete".
            target: one token to explain, with its leading space; empty takes the unablated model's first choice.
            contrast: one token to hold it against; then the logit difference is explained, else the log-probability.
            heads: heads removed in the run that is explained, such as "2.5, L2H1"; empty for none.
            mode: what their output becomes, as in ablate.
            baseline: where integrated gradients start: "mean" embedding, "zero" or "eos".
            corrupted: a prompt of as many tokens, for pattern_freeze.
            model: name of a served model; empty for the default.

        Returns:
            what was run, as in ablate, with note (in resample mode: which draw); method, with its formula and pitfall;
            f (the explained value) and unit (logits or nats); values, one per token of the prompt (above 0: speaks for
            the target; saliency has no sign), null for tokens that stay fixed, as BOS does; standard_errors
            (occlusion_replace, else null); for integrated gradients f_baseline, completeness_gap (sum of the values -
            (f - f_baseline)) and converged.

        Example:
            client.predict("The capital of France is", method="gradient_x_input", api_name="/attribute")
        """
        option(method, METHODS, "method")
        option(baseline, BASELINES, "baseline")

        def work(bench: Bench) -> Result:
            from head_atlas.live import attribute
            from head_atlas.live.plain_values import plain

            what = bench.what
            found = attribute(
                bench.model, bench.prompt, None, None, what.heads, what.mode, bench.reference,
                method=method, baseline=baseline, progress=bench.progress,  # type: ignore[arg-type]
            )  # fmt: skip
            errors, entry = found.standard_error, ATTRIBUTIONS[method]
            return _described(bench) | {
                "note": bench.one_draw or None,
                "method": method,
                "formula": entry.formula,
                "pitfall": entry.pitfall,
                "f": finite(found.f),
                "unit": found.unit if method != "saliency" else f"{found.unit} per unit of embedding",
                "values": plain(found.values)["values"],
                "reason": "tokens without a value stay fixed, or cannot be taken away",
                "standard_errors": None if errors is None else plain(errors)["values"],
                "f_baseline": finite(found.f_baseline),
                "completeness_gap": finite(found.completeness_gap),
                "converged": found.converged,
            }

        return self._run(
            work, model, prompt, heads=heads, mode=mode, target=target, contrast=contrast, corrupted=corrupted
        )

    def attention(
        self, prompt: str, head: str, heads: str = "", mode: str = "zero", corrupted: str = "", model: str = ""
    ) -> dict[str, Any]:
        """Give the attention pattern of one head on a prompt, with all heads and, where some are removed, without them.

        Args:
            prompt: the text that is read.
            head: whose attention, such as "2.5" or "L2H5".
            heads: heads to remove, such as "2.5, L2H1"; empty for none.
            mode: what their output becomes, as in ablate.
            corrupted: a prompt of as many tokens, for pattern_freeze.
            model: name of a served model; empty for the default.

        Returns:
            what was run, as in ablate, with note (in resample mode: which draw); head, clean and ablated: one row of
            probabilities per query token, over all tokens as keys (0 for later ones), rounded to 6 decimals; ablated is
            null with a reason where no head is removed. A removed head's own pattern is where it would have looked.

        Example:
            client.predict("Harry Potter went home. Everyone knew Harry", "0.4", api_name="/attention")
        """
        wanted = HeadId.parse(head)

        def work(bench: Bench) -> Result:
            from head_atlas.live import ablate

            one = wanted.within(bench.model.n_layers, bench.model.n_heads)
            run = ablate(bench.model, bench.prompt, bench.what.heads, bench.what.mode, reference=bench.reference)
            return _described(bench) | {
                "note": bench.one_draw or None,
                "head": str(one),
                "clean": _rounded(run.pattern(one, "clean").values),
                "ablated": _rounded(run.pattern(one, "ablated").values) if run.heads else None,
                "reason": None if run.heads else "no head is removed",
            }

        return self._run(work, model, prompt, heads=heads, mode=mode, corrupted=corrupted)

    def logit_lens(self, prompt: str, target: str = "", n_top: int = 3, model: str = "") -> dict[str, Any]:
        """Say what the model would predict if it stopped after each layer, at every position of a prompt.

        Args:
            prompt: the text that is read.
            target: one token to look for, with its leading space; empty takes the model's first choice.
            n_top: likeliest tokens given at each place, 1 to 20.
            model: name of a served model; empty for the default.

        Returns:
            what was run, as in ablate; arrays over layer (0: the embedding; l: after l layers) and position:
            log_probs of the target (nats), its ranks (1 the likeliest), kl to the model's output (nats); top: per
            layer and position the likeliest tokens with their probability; caveat.

        Example:
            client.predict("The capital of France is", n_top=1, api_name="/logit_lens")
        """
        k = int(number(n_top, 1, MOST_TOP, "n_top"))

        def work(bench: Bench) -> Result:
            from head_atlas.live import logit_lens
            from head_atlas.live.plain_values import plain

            found = logit_lens(bench.model, bench.prompt, n_top=k)
            ids, p = np.asarray(found.top_tokens.values), np.exp(np.asarray(found.top_log_probs.values, dtype=float))
            every = sorted(set(ids.ravel().tolist()))
            names = dict(zip(every, bench.model.strings(every), strict=True))
            top = [
                [
                    [{"token": names[int(i)], "probability": float(x)} for i, x in zip(*cell, strict=True)]
                    for cell in zip(*row, strict=True)
                ]
                for row in zip(ids, p, strict=True)
            ]
            arrays = {name: plain(getattr(found, name)) for name in ("log_probs", "ranks", "kl")}
            return _described(bench) | arrays | {"top": top, "caveat": found.caveat}

        return self._run(work, model, prompt, target=target)

    def generate(
        self,
        prompt: str,
        heads: str = "",
        mode: str = "zero",
        n_tokens: int = 20,
        temperature: float = 0.0,
        seed: int = 0,
        model: str = "",
    ) -> dict[str, Any]:
        """Continue a prompt with all heads and without some, which stay removed at every step.

        Args:
            prompt: the text that the model continues.
            heads: heads to remove, such as "2.5, L2H1"; empty for none.
            mode: "zero", "mean" or "resample", as in ablate.
            n_tokens: most tokens to write, 1 to 60.
            temperature: 0 takes the likeliest token; up to 5.
            seed: of sampling; both texts use the same random numbers.
            model: name of a served model; empty for the default.

        Returns:
            what was run, as in ablate, with note (in resample mode: which draw); clean and ablated: text, tokens, and
            clean_log_probs and ablated_log_probs, how likely each model finds each token (nats), whichever wrote it;
            divergence: the first step at which the texts differ, null with a reason where they do not. Steps after it
            are not comparable.

        Example:
            client.predict("Harry Potter went home. Everyone knew Harry", "0.4", n_tokens=5, api_name="/generate")
        """
        given: dict[str, Any] = {
            "n_tokens": int(number(n_tokens, 1, MOST_TOKENS, "n_tokens")),
            "temperature": number(temperature, 0, 5, "temperature"),
            "seed": int(number(seed, 0, 2**31, "seed")),
        }

        def work(bench: Bench) -> Result:
            from head_atlas.live import generate

            what = bench.what
            arguments = (bench.model, bench.prompt, what.heads, what.mode, bench.reference)
            found = generate(*arguments, progress=bench.progress, **given)
            return _described(bench) | {
                "note": bench.one_draw or None,
                "clean": _continuation(found.clean),
                "ablated": _continuation(found.ablated),
                "divergence": found.divergence,
                "reason": "both texts are the same" if found.divergence is None else None,
            }

        return self._run(work, model, prompt, heads=heads, mode=mode)

    def patch(
        self,
        prompt: str,
        corrupted: str,
        what: str = "z",
        direction: str = "denoise",
        target: str = "",
        contrast: str = "",
        model: str = "",
    ) -> dict[str, Any]:
        """Take one place at a time from the run on another prompt: this shows where their difference sits.

        Args:
            prompt: the clean text.
            corrupted: another text of as many tokens.
            what: the place: "z" (a head's output, by position), "resid_pre", "attn_out", "mlp_out" (by layer and
                position), or "q", "k", "v" of a head (all positions together).
            direction: "denoise" (clean parts into the corrupted run) or "noise" (corrupted parts into the clean run).
            target: one token to measure, with its leading space; empty takes the clean run's first choice.
            contrast: one token to hold it against; empty takes the corrupted run's first choice.
            model: name of a served model; empty for the default.

        Returns:
            what was run, as in ablate, with corrupted_tokens; metric and unit; clean and corrupted: the metric on
            either run; values: an array, 1 as in the clean run, 0 as in the corrupted one, null with a reason where
            the two runs hardly differ; effects: the metric minus that of the run that was patched, in the same unit.

        Example:
            client.predict(
                "Harry Potter went home. Everyone knew Harry",
                "Harry Smith went home. Everyone knew Harry",
                what="resid_pre",
                api_name="/patch",
            )
        """
        option(what, [name for _, name in PLACES], "what")
        option(direction, [name for _, name in DIRECTIONS], "direction")

        def work(bench: Bench) -> Result:
            from head_atlas.live import patch
            from head_atlas.live.plain_values import plain

            texts, chosen = pair_arguments(bench)
            arguments: tuple[Any, ...] = (*texts, what, direction)
            found = patch(*arguments, progress=bench.progress, **chosen)
            against = found.pair.prompt.contrasts
            return _described(bench) | {
                "contrast": bench.model.strings([against[-1]])[0] if against else None,
                "contrast_id": against[-1] if against else None,
                "corrupted_tokens": list(found.pair.corrupted_strings),
                "what": found.what,
                "direction": found.direction,
                "metric": found.pair.metric,
                "unit": EFFECTS[found.pair.metric].unit,
                "clean": found.clean,
                "corrupted": found.corrupted,
                "values": plain(found.values),
                "effects": plain(found.effects),
                "reason": found.undefined or None,
            }

        if not corrupted.strip():
            raise HeadAtlasError("The corrupted prompt is empty: patching needs one of as many tokens.")
        return self._run(work, model, prompt, corrupted=corrupted, target=target, contrast=contrast)


def _described(bench: Bench) -> Result:
    """What was run: the same for every experiment."""
    what: Asked = bench.what
    return {
        "model": what.model,
        "prompt": what.prompt,
        "tokens": bench.model.strings(bench.prompt.tokens),
        "heads": [str(head) for head in what.heads],
        "mode": what.mode,
        "target": bench.target,
        "target_id": bench.prompt.targets[-1],
        "contrast": bench.contrast,
        "contrast_id": bench.prompt.contrasts[-1] if bench.prompt.contrasts else None,
        "warning": bench.engine.mismatch(what.model, bench.model) or None,
    }


def _reasons(bench: Bench) -> dict[str, str]:
    """Why a number is null."""
    return {} if bench.prompt.contrasts else {"logit_difference": NO_CONTRAST}


def _intervals(run: Ablation) -> dict[str, list[float | None]] | None:
    """95 % intervals of the effects over draws, [low, high]; None of one draw."""
    if run.n_draws == 1:
        return None
    return {name: [finite(end) for end in run.interval(name)] for name in run.effects}


def _largest(values: np.ndarray) -> list[Result]:
    """The heads of largest magnitude in an array over layer and head."""
    order = [int(i) for i in np.argsort(-np.abs(values), axis=None, kind="stable") if np.isfinite(values.flat[i])]
    heads = [HeadId(*divmod(flat, values.shape[1])) for flat in order[:TOP_HEADS]]
    return [{"head": str(head), "value": float(values[head.layer, head.head])} for head in heads]


def _rounded(pattern: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 6) for x in row] for row in pattern]


def _continuation(one: Continuation) -> Result:
    from head_atlas.live.plain_values import plain

    return {
        "text": one.text,
        "tokens": list(one.strings),
        "clean_log_probs": plain(one.clean_log_probs)["values"],
        "ablated_log_probs": plain(one.ablated_log_probs)["values"],
    }
