"""One head in one sentence: its roles with their grades, its states, and the numbers that decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from head_atlas.catalogue.effects import REMOVALS
from head_atlas.catalogue.roles import GRADES, ROLES, STATES, UNJUDGED, Criterion, Grade, Role
from head_atlas.measures.indirect import INDIRECT_MODE
from head_atlas.measures.roles import HeadRoles
from head_atlas.measures.significance import TIE


def describe(found: HeadRoles, layer: int, head: int, *, mode: str = "", roles: Mapping[str, Role] = ROLES) -> str:
    """Say what a head is, graded, with numbers, intervals and n; nothing that was not measured is claimed.

    Roles come strongest first; of those that it only attends like, one is told
    in numbers where it holds none.

    Args:
        found: from `assign_roles`, or read back.
        layer: of the head.
        head: of the head.
        mode: of the effects, `role_mode` in the provenance of an atlas; "" where it is not known: the sentence then
            does not say how the head was removed.
        roles: the same as were assigned.

    Raises:
        KeyError: an unknown mode.
    """
    return _Sentence(found, layer, head, REMOVALS[mode] if mode else "removing it", roles).text()


class _Sentence:
    def __init__(self, found: HeadRoles, layer: int, head: int, removing: str, roles: Mapping[str, Role]) -> None:
        self._removing = removing
        self._found, self._at, self._roles = found, (layer, head), roles
        names = found.held.coords["role"]
        self._held = {name: found.held[index][self._at] for index, name in enumerate(names)}
        strength = {name: found.membership[index][self._at] for index, name in enumerate(names)}
        self._order = sorted(names, key=lambda name: -np.nan_to_num(strength[name], nan=-1.0))
        self._rows = {label: index for index, label in enumerate(found.evidence["value"].coords["criterion"])}

    def text(self) -> str:
        jobs = [name for name in self._order if not self._roles[name].state]
        held = [name for name in jobs if self._held[name] == 1]
        almost = [
            name
            for name in jobs
            if self._held[name] != 1
            and self._grade(name, "attends") == 1
            and not any(self._held.get(other) == 1 for other in self._roles[name].yields_to)
        ]
        parts = [self._role(name) for name in held]
        detailed = [] if held else almost[:1]
        parts += [f"{self._role(name)}, so it is not called one" for name in detailed]
        # roles that ask for the same attention are no evidence for each other: it is told once
        told = {self._looks(name) for name in (*held, *detailed)}
        rest: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for name in almost[len(detailed) :]:
            if self._looks(name) not in told:
                rest.setdefault(self._looks(name), []).append(self._roles[name].label)
        if rest:
            likes = _listed([" or ".join(labels) for labels in rest.values()])
            parts.append(f"attends like {likes} too, without the other evidence that being one takes")
        if not held:
            judged = sum(self._held[name] in (0, 1) for name in jobs)
            said = f"holds none of the {judged} roles that could be judged" if judged else "no role could be judged"
            parts.insert(0, said)
        states = [name for name in self._order if self._roles[name].state and self._held[name] == 1]
        if "bag_of_words" in states:
            states.remove("diffuse")  # the same evidence, and one criterion more
        parts += [self._state(name) for name in states]
        for index, name in enumerate(self._found.states.coords["state"]):
            if self._found.states[index][self._at] == 1:
                parts.append(STATES[name].words.format(families=self._felt_on()))
        sentence = "; ".join(parts)
        return f"{sentence[0].upper()}{sentence[1:]}."

    def _role(self, name: str) -> str:
        role = self._roles[name]
        said: list[str] = []
        unmeasured: list[str] = []
        for grade in GRADES:
            criteria = role.of(grade)
            if not criteria:
                continue
            answer = self._grade(name, grade)
            like = "" if grade == "matters" else f" like {'one' if said else role.label}"
            if np.isnan(answer):
                unmeasured.append(f"whether it {grade}{like and ' like one'} was {UNJUDGED[grade]}")
                continue
            numbers = ", ".join(filter(None, (self._number(name, criterion) for criterion in criteria)))
            no = "works the other way" if self._reversed(name, criteria) else f"does not {grade[:-1]}"
            said.append(f"{grade if answer else no}{like} ({numbers})")
        said += unmeasured
        return said[0] if len(said) == 1 else f"{', '.join(said[:-1])}, and {said[-1]}"

    def _looks(self, name: str) -> tuple[tuple[str, str], ...]:
        """The numbers that say whether it attends like one."""
        return tuple(criterion.key for criterion in self._roles[name].of("attends"))

    def _state(self, name: str) -> str:
        role = self._roles[name]
        numbers = ", ".join(filter(None, (self._number(name, criterion) for criterion in role.criteria)))
        return f"is {role.label} ({numbers})"

    def _felt_on(self) -> str:
        families = self._found.felt.coords["family"]
        felt = [name.replace("_", " ") for i, name in enumerate(families) if self._found.felt[i][self._at] == 1]
        return _listed(felt)

    def _reversed(self, name: str, criteria: Sequence[Criterion]) -> bool:
        """Whether the one effect that is asked for surely has the other sign, and is large enough to count."""
        if len(criteria) != 1 or criteria[0].grade != "matters" or not criteria[0].sign:
            return False
        value, low, high, _ = self._evidence(name, criteria[0])
        enough = abs(value) >= (criteria[0].least or 0.0) - TIE
        return enough and (high < 0 if criteria[0].sign > 0 else low > 0)

    def _evidence(self, name: str, criterion: Criterion) -> tuple[float, float, float, float]:
        row = self._rows[f"{name}/{criterion.grade}/{criterion.measure}/{criterion.where}"]
        parts = (self._found.evidence[part] for part in ("value", "low", "high", "n"))
        value, low, high, n = (float(part[row][self._at]) for part in parts)
        return value, low, high, n

    def _grade(self, name: str, grade: Grade) -> float:
        array = getattr(self._found, grade)
        return float(array[array.coords["role"].index(name)][self._at])

    def _number(self, name: str, criterion: Criterion) -> str:
        value, low, high, n = self._evidence(name, criterion)
        if np.isnan(value):
            return ""
        scale, sign, digits = (100, " %", 1) if criterion.relative else (1, "", 2)
        numbers = f"{_rounded(value * scale, digits)}{sign}"
        if n > 0 and not np.isnan(low):
            numbers += f" [{_rounded(low * scale, digits)}, {_rounded(high * scale, digits)}]"
        unit = f" {criterion.unit}" if criterion.unit else ""
        count = f", n = {n:.0f}" if n > 0 else ""
        if criterion.grade == "matters":
            where = criterion.where.replace("_", " ")
            removing = REMOVALS[INDIRECT_MODE] if criterion.measure == "indirect_effect" else self._removing
            return f"{removing} changes the {criterion.number} on {where} by {numbers}{unit}{count}"
        offset = self._found.positional_offset[self._at] if criterion.measure == "positional" else np.nan
        back = "" if np.isnan(offset) else f", {_back(int(offset))}"
        return f"{criterion.number} {numbers}{unit}{back}{count}"


def _rounded(value: float, digits: int) -> str:
    """A number to so many decimals; a small one to one significant digit, so that its sign and size are not lost."""
    text = f"{value:.{digits}f}" if value == 0 or abs(value) >= 0.5 * 10**-digits else f"{value:.1g}"
    return text.replace("-", "−")  # the sign of the page's other numbers


def _back(offset: int) -> str:
    return {0: "the token itself", 1: "1 token back"}.get(offset, f"{offset} tokens back")


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
