"""What the project's files promise to each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(path for path in (ROOT / "scripts").glob("*.py") if "argparse" in path.read_text())


def requirements(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_space_runs_what_is_pinned():
    front_matter = re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    fields = dict(line.split(": ", 1) for line in front_matter.splitlines() if ": " in line)
    assert fields["sdk"] == "gradio"
    assert fields["sdk_version"] == requirements("requirements.txt")["gradio"]
    assert (ROOT / fields["app_file"]).exists()
    assert fields["license"] == "apache-2.0"
    assert len(fields["short_description"]) <= 60


def test_every_requirement_is_pinned():
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-mcp.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-r"))]
        assert len(lines) == len(requirements(name))


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.stem)
def test_every_option_of_a_script_is_in_the_reference(script):
    run = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
    reference = (ROOT / "docs" / "commands.md").read_text()
    assert f"## `scripts/{script.name}`" in reference
    section = reference.split(f"## `scripts/{script.name}`")[1].split("\n## ")[0]
    options = set(re.findall(r"--[a-z][a-z0-9-]*", run.stdout)) - {"--help"}
    # the options of subcommands are looked up where these are tested
    assert options or "SUBCOMMAND" in run.stdout
    assert {option for option in options if f"`{option}" not in section} == set()


def linked_from(document):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    return {(document.parent / target).resolve() for target in targets}


def test_links_between_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "atlas").rglob("*.md")]:
        for target in linked_from(document):
            assert target.exists(), f"{document.name} links to {target}"


def test_every_page_is_found_from_the_readme():
    found, ahead = set(), {ROOT / "README.md"}
    while ahead:
        document = ahead.pop()
        found.add(document)
        ahead |= {target for target in linked_from(document) if target.suffix == ".md"} - found
    assert {*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "atlas" / "README.md"} <= found


def test_reading_an_atlas_imports_no_torch():
    code = (
        "import sys, head_atlas; head_atlas.open_atlas; head_atlas.HeadId; head_atlas.catalogue; "
        "assert not {'torch', 'transformers', 'gradio'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_imported():
    import head_atlas

    for name in head_atlas.__all__:
        assert getattr(head_atlas, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = head_atlas.nonsense
