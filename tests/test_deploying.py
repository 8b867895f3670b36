"""What the deployment guide and the citation promise."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

from head_atlas.app.limits import Limits
from head_atlas.views import citing

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "DEPLOY.md").read_text()


def table(title):
    section = GUIDE.split(f"## {title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", section, re.MULTILINE))


def test_the_table_of_limits_is_the_limits():
    assert table("Limits") == {field.name.upper(): str(field.default) for field in dataclasses.fields(Limits)}


def test_the_spaces_python_is_one_that_the_package_takes():
    version = re.search(r'^python_version: "(\d+\.\d+)"$', (ROOT / "README.md").read_text(), re.MULTILINE).group(1)
    assert re.search(rf'requires-python = ">={version}"', (ROOT / "pyproject.toml").read_text())


def test_every_variable_that_the_server_reads_is_in_the_guide():
    server = (ROOT / "src/head_atlas/app/server.py").read_text()
    read = set(re.findall(r'environment\.get\("([A-Z_]+)"', server)) - {"SPACE_ID", "GRADIO_SERVER_PORT"}
    assert {"MODEL", "MODELS", "HOST", "PORT", "PUBLIC"} <= read
    assert read <= set(table("Environment variables"))


def test_the_citation_is_that_of_the_repository():
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    fields = {key: value.strip('"') for key, _, value in (line.partition(": ") for line in lines) if value}
    assert (fields["title"], fields["version"]) == (citing.TITLE, citing.VERSION)
    assert (fields["date-released"], fields["license"]) == (citing.RELEASED, citing.LICENSE)
    assert list(citing.AUTHORS) == [line.partition("name: ")[2] for line in lines if line.startswith("  - name: ")]


def test_the_unit_of_the_guide_is_one_that_systemd_reads(tmp_path):
    unit = re.search(r"```ini\n(.*?)```", GUIDE, re.DOTALL).group(1)
    assert "PUBLIC=1" in unit
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    path = tmp_path / "head-atlas.service"
    path.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit))
    found = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True)
    assert "Unknown" not in found.stderr
