"""What a newcomer reads is true: links lead somewhere, versions and the floors agree."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
import yaml

from tests.test_house import FLOORS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = "bridge|pipelines|tune|tests|benchmarks|docs|examples"
CODE_PATH = re.compile(rf"`((?:{FOLDERS})/[\w/.-]+\.\w+)`")
PICTURE_BYTES = 300_000

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def anchors(page: Path) -> set[str]:
    """The names under which the headings of a page can be linked."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def broken_links(page: Path) -> list[str]:
    """Links within the repository that lead nowhere."""
    broken = []
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []
    paths = CODE_PATH.findall(page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page: of 2\n[a](none.md) [b](#a-page-of-2) [c](page.md#b) ![d](e.png)")
    assert broken_links(page) == ["none.md", "page.md#b", "e.png"]


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == VERSION
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["license"] == citation["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_table_of_floors_is_the_rule() -> None:
    rows = re.findall(r"^\| (\d) \| `([\w.]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert {name: int(floor) for floor, name in rows} == FLOORS


def test_the_library_says_that_it_is_typed() -> None:
    assert (resources.files("bridge") / "py.typed").is_file()


def test_the_picture_of_the_readme_is_small() -> None:
    assert "docs/figures/readme.jpg" in (ROOT / "README.md").read_text()
    assert (ROOT / "docs" / "figures" / "readme.jpg").stat().st_size <= PICTURE_BYTES
