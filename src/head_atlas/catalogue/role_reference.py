"""Roles and published heads in words: their sections of docs/measures.md."""

from __future__ import annotations

from head_atlas.catalogue.published import ALIASES, published_heads, published_models
from head_atlas.catalogue.roles import FELT, GRADES, ROLE_MODES, ROLES, SOLVED, STATES, Criterion, Role

_ASKED = {"attends": "Attends like one", "writes": "Writes like one", "matters": "Matters"}


def role_sections() -> list[str]:
    """Every role with its criteria, and the states."""
    parts = [
        "## Roles",
        "A role is three questions: does the head attend like one (pattern), write like one (weights, direct logit), "
        'matter for what such heads are for (ablation)? It *holds* the role if every criterion marked "needed" is '
        "met; it may hold several. Where a number has a null, q <= 0.05 (Benjamini-Hochberg over the heads of the "
        "model, within the criterion) and an interval that reaches the 99th percentile of the null are needed. "
        "Membership is `clip((value - n99) / (1 - n99), 0, 1)` of the first criterion, with max(n99, 0) for n99; the "
        "effective number of roles is `exp(entropy of the normalised memberships)` of the roles held; the "
        "participation of a head is `(sum d)^2 / sum d^2` with `d = |effect| / clean logit difference` by family, 0 "
        "where the interval spans 0. "
        "What was not measured is NaN, neither yes nor no.",
        f"Shares of a logit difference are taken only where the model solves the family: the share of prompts with y "
        f"above y' has a lower bound of at least {SOLVED:g}. They are ratios of means, whose intervals resample effect "
        "and clean value together.",
        f"Effects are those of the first measured mode of {', '.join(ROLE_MODES)}; an atlas names it as `role_mode` in "
        "its provenance, and every sentence says what was done to the head. (The indirect effect is always of `zero`.)",
    ]
    parts += [part for role in ROLES.values() for part in _role(role)]
    parts += ["## States", FELT]
    for state in STATES.values():
        parts += [f"### {state.name}", f"A head that {state.definition}.", f"Beware: {state.pitfall}"]
    return parts


def published_section() -> list[str]:
    """Every published head, with its source."""
    parts = [
        "## Published heads",
        "What others have described, shown beside a head of that model. `python scripts/bench.py published --model "
        "gpt2 --atlas FILE` says which of it an atlas shows again. Entry: *read* was seen in the paper or in published "
        "code that lists the heads, *reported* in another's account. `docs/references.md` says where.",
    ]
    for model in published_models():
        rows = [f"### {model}", f"Also called {', '.join(name for name in ALIASES[model] if name != model)}."]
        table = ["| head | published as | should show in | entry | source |", "| --- | --- | --- | --- | --- |"]
        for one in published_heads(model):
            shows = ", ".join(
                f"{' on '.join(filter(None, s.key))} ({'high' if s.sign > 0 else 'low'})" for s in one.shows
            )
            claim = f"{one.claim} ({one.note.rstrip('.')})" if one.note else one.claim
            table.append(f"| {one.head} | {claim} | {shows or 'nothing'} | {one.confidence} | {one.source} |")
        parts += [*rows, "\n".join(table)]
    return parts


def _role(role: Role) -> list[str]:
    lines = []
    unasked = dict(role.unasked)
    for grade in GRADES:
        criteria = "; ".join(_criterion(criterion) for criterion in role.of(grade))
        lines.append(f"- {_ASKED[grade]}: {criteria or f'not asked: {unasked[grade]}'}")
    kind = "A state rather than a job. " if role.state else ""
    less = f" Not held beside {', '.join(role.yields_to)}." if role.yields_to else ""
    less += " Not applicable (NaN) in the last layer: it acts through later heads." if role.read_later else ""
    return [
        f"### role {role.name}",
        f"{kind}{role.sentence}{less}",
        "\n".join(lines),
        f"Beware: {role.pitfall}",
        f"Source: {role.sources}.",
    ]


def _criterion(criterion: Criterion) -> str:
    number = " on ".join(filter(None, criterion.key))
    share = ", as a share of the clean one," if criterion.relative else ""
    what = {1: "", -1: " negated", 0: " in magnitude"}[criterion.sign]
    wants = []
    if criterion.floor is not None:
        end = f"at least {criterion.floor:g}" if criterion.floor else "beyond 0"
        wants.append(f"near end of the interval {end}")
    if criterion.least is not None:
        wants.append(f"value at least {criterion.least:g}")
    if criterion.tested:
        wants.append("against its null")
    needed = " (needed)" if criterion.required else ""
    return f"`{number}`{share}{what}: {', '.join(wants)}{needed}"
