"""Take the README's pictures of the app on the demo atlas: `python tests/browser/take_screenshots.py`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from conftest import FLAGS, ROOT, start, stop

HERE = ROOT / "docs" / "images"
LAB = "?tab=lab&prompt=Harry+Potter+went+home.+Everyone+knew+Harry"


def main(model: str = "atlas/demo", folder: Path = HERE) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    process, url = start(model)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for dark in (False, True):
                look = "dark" if dark else "light"
                context = browser.new_context(
                    viewport={"width": 1280, "height": 800}, color_scheme=look, device_scale_factor=1.5
                )
                page = context.new_page()
                page.goto(url)
                page.wait_for_selector("#start-experiment .ha-condition", timeout=120_000)
                page.wait_for_timeout(600)
                page.screenshot(path=folder / f"start-{look}.png", full_page=True)
                page.locator("#start-try").click()
                page.wait_for_selector("#lab-bars .ha-dist-row", timeout=60_000)
                page.wait_for_timeout(600)
                page.screenshot(path=folder / f"lab-{look}.png", full_page=True)
                page.get_by_role("tab", name="Atlas").click()
                page.wait_for_selector("#atlas-grid .ha-cell")
                strongest = page.locator("#atlas-grid .ha-cell").evaluate_all(
                    "cells => cells.map(c => [parseFloat(c.textContent.replace('−', '-')), c.dataset.l, c.dataset.h])"
                    ".sort((a, b) => b[0] - a[0])[0]"
                )
                page.locator(f"#atlas-grid [data-l='{strongest[1]}'][data-h='{strongest[2]}']").click()
                page.wait_for_selector("#atlas-card h2")
                page.wait_for_timeout(600)
                top = {"x": 0, "y": 0, "width": 1280, "height": 1280}  # the page of a head goes on for long
                page.screenshot(path=folder / f"atlas-{look}.png", full_page=True, clip=top)
                context.close()
            browser.close()
    finally:
        stop(process)


if __name__ == "__main__":
    main(*sys.argv[1:2])
