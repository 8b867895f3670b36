"""axe-core in a page, and what of Gradio's own markup is let through: here, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SCRIPT = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")
ACCEPTED: tuple[tuple[str, str, str], ...] = ()
"""Rule, a selector of Gradio's own elements, and why it stands."""

_MATCHES = "([target, selector]) => !!document.querySelector(target)?.matches(selector)"


class Axe:
    """axe-core, put into a page.

    Args:
        page: stays loaded as long as this is used.
    """

    def __init__(self, page: Page) -> None:
        if not SCRIPT.exists():
            pytest.fail("the browser tests need axe-core: run `make axe` (npm, of the Debian package 'npm')")
        self.page = page
        # A colour on its way from light to dark is no colour of the page.
        page.add_style_tag(content="* { transition: none !important; }")
        page.evaluate(SCRIPT.read_text(encoding="utf-8"))

    def faults(self, rules: tuple[str, ...] = (), impacts: tuple[str, ...] = SERIOUS) -> list[str]:
        """What breaks a rule, one sentence per element.

        Args:
            rules: the rules that are tried; none for all.
            impacts: how bad a fault must be to count.
        """
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": list(rules)}
        found = self.page.evaluate("(options) => axe.run(document, options)", options)["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:200]} at {node['target']}: "
            + "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]][:2])
            for rule in found
            if rule["impact"] in impacts
            for node in rule["nodes"]
            if not self._accepted(rule["id"], node["target"][0])
        ]

    def _accepted(self, rule: str, target: str) -> bool:
        return any(
            rule == name
            and self.page.evaluate("([a, b]) => !!document.querySelector(a)?.matches(b)", [target, selector])
            for name, selector, _ in ACCEPTED
        )
