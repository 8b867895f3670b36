"""Public calls that read an atlas: what is served, which heads stand out, and everything measured of one head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from head_atlas.app.lab_bench import number, option
from head_atlas.catalogue.roles import ROLES, STATES
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.views import records
from head_atlas.views.choices import ROLE_PREFIX, chosen_place, families_of, one_of
from head_atlas.views.head_examples import bands_of, sets_of
from head_atlas.views.head_roles import sentence_of
from head_atlas.views.measured import values_of

if TYPE_CHECKING:
    from head_atlas.app.library import Library
    from head_atlas.store import Atlas

MOST_HEADS, MOST_EXAMPLES = 1000, 10


class BrowsingCalls:
    """These calls need an atlas, not a model; they answer at once.

    Args:
        library: what is served.
    """

    NAMES = (
        "list_models", "describe_atlas", "list_measures", "find_heads", "head_summary", "head_roles", "head_scores",
        "head_effects", "head_attributions", "head_examples",
    )  # fmt: skip

    def __init__(self, library: Library) -> None:
        self._library = library

    def _atlas(self, model: str) -> tuple[str, Atlas]:
        name = model or self._library.default
        return name, self._library.atlas(name)

    def _head(self, model: str, head: str) -> tuple[str, Atlas, HeadId]:
        name, atlas = self._atlas(model)
        return name, atlas, HeadId.parse(head).within(atlas.n_layers, atlas.n_heads)

    def list_models(self) -> dict[str, Any]:
        """List the models that this server has.

        Returns:
            models: name (to be given as `model` to the other calls), has_atlas (whether heads can be browsed;
            experiments need none), default (the one that is taken where `model` is empty).

        Example:
            client.predict(api_name="/list_models")
        """
        library = self._library
        return {
            "models": [
                {
                    "name": name,
                    "has_atlas": library.entry(name).atlas_path is not None,
                    "default": name == library.default,
                }
                for name in library.names
            ]
        }

    def describe_atlas(self, model: str = "") -> dict[str, Any]:
        """Say what the atlas of a model holds: its size, prompt families, ablation modes and roles.

        Args:
            model: name of a served model; empty for the default.

        Returns:
            model, model_id, fingerprint (of the weights that were measured), n_layers, n_heads (query heads per
            layer; heads are zero-based, "2.5" is layer 2, head 5), n_prompts, families, modes, roles, states,
            role_mode (the ablation mode that roles were judged by), example_sets, and left_out (name of a family or
            measure: why it is not in the atlas). Measures: see list_measures.

        Example:
            client.predict(api_name="/describe_atlas")
        """
        name, atlas = self._atlas(model)
        known = records.role_names(atlas)
        return {
            "model": name,
            "model_id": atlas.model_id,
            "fingerprint": str(atlas.provenance.get("model_fingerprint", "")) or None,
            "n_layers": atlas.n_layers,
            "n_heads": atlas.n_heads,
            "n_prompts": atlas.n_prompts,
            "families": list(atlas.families),
            "modes": list(atlas.modes),
            "roles": [one for one in known if one in ROLES],
            "states": [one for one in known if one in STATES],
            "role_mode": str(atlas.provenance.get("role_mode", "")) or None,
            "example_sets": [one for _, one in sets_of(atlas)],
            "left_out": dict(atlas.left_out),
        }

    def list_measures(self, kind: str = "", model: str = "") -> dict[str, Any]:
        """List the measures that the atlas of a model holds, with formula, unit, range and source.

        Args:
            kind: "score" (read from patterns or weights), "effect" (causal: ablated - clean), "attribution" (a
                decomposition), "role" (membership) or "behaviour"; empty for all.
            model: name of a served model; empty for the default.

        Returns:
            measures: name, label, kind, unit, low and high (smallest and largest possible value, null where there is
            none), signed, sentence (what it says), formula, pitfall (how it is misread), source, families and modes
            (those that it can be asked for on; empty where it has none).

        Example:
            client.predict(kind="effect", api_name="/list_measures")
        """
        name, atlas = self._atlas(model)
        if kind:
            option(kind, records.KINDS, "kind")
        found = [one for one in records.measure_records(atlas) if kind in ("", one["kind"])]
        return {"model": name, "measures": found}

    def find_heads(
        self,
        measure: str = "",
        family: str = "",
        mode: str = "",
        role: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
        significant: bool = False,
        order: str = "highest",
        limit: int = 10,
        model: str = "",
    ) -> dict[str, Any]:
        """Find heads by a measure, a role or both, ranked: the finder of the page.

        Args:
            measure: name of a measure; empty with a role for the membership of that role.
            family: prompt family; empty for the measure's first.
            mode: ablation mode of an effect; empty for the atlas' first.
            role: only heads that hold this role or state, such as "induction"; empty for any.
            at_least: smallest value that is listed, in the measure's unit.
            at_most: largest value that is listed.
            significant: only heads whose value differs from chance or no effect: q <= 0.05 over the heads of the
                model, or where there is no test a 95 % interval on one side of it.
            order: "highest", "lowest", or "largest" in magnitude first. An effect is ablated - clean, so heads that
                help most have the lowest effect on logit_difference and logprob.
            limit: most heads listed, 1 to 1000.
            model: name of a served model; empty for the default.

        Returns:
            measured (measure, family, mode, label, statistic, unit, test: what q tests), n_found (heads that pass),
            and heads, best first: head, value, low and high (95 % interval), n with what it counts, q, significant,
            percentile among the model's heads and percentile_in_layer (0 to 100; of effects and attributions by size,
            so that a head that helps most is at 100). Heads without a value are left out.

        Example:
            client.predict(measure="logit_difference", family="ioi", order="lowest", limit=3, api_name="/find_heads")
        """
        name, atlas = self._atlas(model)
        order_: records.Order = option(order, records.ORDERS, "order")  # type: ignore[assignment]
        most = int(number(limit, 1, MOST_HEADS, "limit"))
        if role:
            one_of("role", role, records.role_names(atlas))
        measure = measure or (f"{ROLE_PREFIX}{role}" if role else "")
        place = chosen_place(atlas, measure, family, mode)
        values = values_of(atlas, place[0], place[2], place[1])
        found = records.found_heads(
            atlas, values, role=role, at_least=at_least, at_most=at_most, significant=significant, order=order_
        )
        return {
            "model": name,
            "measured": records.measured_record(*place, values),
            "n_found": len(found),
            "heads": [{"head": str(head), **records.value_record(place[0], values, head)} for head in found[:most]],
        }

    def head_summary(self, head: str, model: str = "") -> dict[str, Any]:
        """Sum a head up in one sentence, with its evidence.

        Args:
            head: such as "2.5" or "L2H5".
            model: name of a served model; empty for the default.

        Returns:
            head, sentence, and the names of the roles and states that it holds; reason where none was judged.

        Example:
            client.predict("0.4", api_name="/head_summary")
        """
        name, atlas, one = self._head(model, head)
        return {"model": name, **records.summary_record(atlas, one, sentence_of(atlas, one))}

    def head_roles(self, head: str, role: str = "", model: str = "") -> dict[str, Any]:
        """Give the evidence for and against each role of a head, by three questions that are never one.

        Args:
            head: such as "2.5" or "L2H5".
            role: only this role; empty for all.
            model: name of a served model; empty for the default.

        Returns:
            roles: role, label, held (true, false, or null: could not be judged), membership (0 chance, 1 ideal), and
            grades: does it attend, write, matter like such a head? Each with an answer and its evidence: measure,
            where (prompt family), value, low and high (95 % interval), n prompts (0 for weights), sign (1: has to be
            high, -1: low, 0: far from zero), threshold (of the near end of the interval, times the sign), q, met,
            required. states: state, held, definition. A value is null with a reason.

        Example:
            client.predict("0.4", role="duplicate_token", api_name="/head_roles")
        """
        name, atlas, one = self._head(model, head)
        found = records.role_records(atlas, one)
        if role:
            one_of("role", role, records.role_names(atlas))
            found |= {"roles": [each for each in found["roles"] if each["role"] == role]}
            found |= {"states": [each for each in found["states"] if each["state"] == role]}
        return {"model": name, "head": str(one), **found}

    def head_scores(self, head: str, measure: str = "", model: str = "") -> dict[str, Any]:
        """Give a head's scores: what is read from its attention patterns and its weights. No score is an effect.

        Args:
            head: such as "2.5" or "L2H5".
            measure: only this score; empty for all.
            model: name of a served model; empty for the default.

        Returns:
            scores: measure, family, statistic ("excess": 0 attends uniformly, 1 perfectly; else "mean", or "value"
            for weights), value, low and high (95 % interval), n with what it counts, q with its test, significant,
            percentile in the model and percentile_in_layer (0 to 100). A value is null with a reason.

        Example:
            client.predict("0.4", measure="induction", api_name="/head_scores")
        """
        return self._of_kind("score", head, measure, "", model)

    def head_effects(
        self, head: str, measure: str = "logit_difference", mode: str = "", model: str = ""
    ) -> dict[str, Any]:
        """Give the causal effects of removing a head, per prompt family and ablation mode: ablated - clean.

        Args:
            head: such as "2.5" or "L2H5".
            measure: "logit_difference" (logits), "logprob" (nats), "kl" (nats), "flip" (share of prompts) or
                "log2_rank"; below 0 the head helped in the first two, above 0 in the others. Empty for all.
            mode: such as "zero", "mean" or "resample"; empty for every mode that was measured.
            model: name of a served model; empty for the default.

        Returns:
            effects: measure, family ("all": mean of the families' means), mode, value, low and high (95 % interval),
            n with what it counts, q with its test, significant, percentile and percentile_in_layer (0 to 100, by
            size). A value is null with a reason.

        Example:
            client.predict("0.4", mode="mean", api_name="/head_effects")
        """
        return self._of_kind("effect", head, measure, mode, model)

    def head_attributions(self, head: str, measure: str = "", model: str = "") -> dict[str, Any]:
        """Give what a head adds to the right answer by itself, per prompt family: a decomposition, not an effect.

        Args:
            head: such as "2.5" or "L2H5".
            measure: "direct_logit" or "induction_copy"; empty for both.
            model: name of a served model; empty for the default.

        Returns:
            attributions: measure, family, value in logits, low and high (95 % interval), n with what it counts, q
            with its test, significant, percentile and percentile_in_layer (0 to 100, by size). A value is null with a
            reason.

        Example:
            client.predict("0.4", measure="direct_logit", api_name="/head_attributions")
        """
        return self._of_kind("attribution", head, measure, "", model)

    def head_examples(
        self,
        head: str,
        where: str = "",
        band: str = "",
        limit: int = 3,
        patterns: bool = False,
        model: str = "",
    ) -> dict[str, Any]:
        """Give prompts that show what a head does, with where it looks on them.

        Args:
            head: such as "2.5" or "L2H5".
            where: "text" (natural text) or "families" (constructed prompts); empty for the first that there is.
            band: "0" for the prompts that suffer most without the head, else a band of its largest attention, the
                highest number where it looks hardest; empty for that one.
            limit: most prompts, 1 to 10.
            patterns: whether to give the whole stored pattern.
            model: name of a served model; empty for the default.

        Returns:
            bands (those that there are), and examples: family, text, tokens, largest_attention with looks_from and
            looks_at (positions of query and key, the first position left out as key), effect_on_logprob (nats,
            ablated - clean; null with a reason). With patterns: pattern, per query a list of [key, weight], and
            attention_left_out, per query the attention to keys that were not kept.

        Example:
            client.predict("0.4", limit=1, api_name="/head_examples")
        """
        name, atlas, one = self._head(model, head)
        most = int(number(limit, 1, MOST_EXAMPLES, "limit"))
        sets = [each for _, each in sets_of(atlas)]
        if not sets:
            raise AtlasError(atlas.left_out.get("exemplars", "this atlas was built without examples"))
        where = one_of("set of examples", where or sets[0], sets)
        bands = [each for _, each in bands_of(atlas, where)]
        band = one_of("band", band or bands[0], bands, of=where) if bands else band
        found = records.example_records(atlas, one, where, band, most, patterns=patterns)
        return {"model": name, "head": str(one), "where": where, "band": band, "bands": bands, "examples": found}

    def _of_kind(self, kind: str, head: str, measure: str, mode: str, model: str) -> dict[str, Any]:
        """Every number of one kind that the atlas holds of a head."""
        name, atlas, one = self._head(model, head)
        names = [each["name"] for each in records.measure_records(atlas) if each["kind"] == kind]
        if measure:
            one_of(kind, measure, names)
        if mode:
            one_of("mode", mode, list(atlas.modes))
        modes = [""] if kind != "effect" else [mode] if mode else list(atlas.modes)
        found = [
            records.place_record(atlas, each, family, how, one)
            for each in ([measure] if measure else names)
            for family in [one_family for _, one_family in families_of(atlas, each)] or [""]
            for how in modes
        ]
        return {"model": name, "head": str(one), f"{kind}s": found}
