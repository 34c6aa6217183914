"""The house stays as it is drawn: packages of the library import from lower floors only.

Packages of one floor do not know each other, files of a package import each other without
circles, the library knows neither Ray nor the commands, and no file has more than 400 lines.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS: dict[str, int] = {
    "bridge.blur": 1,
    "bridge.common": 1,
    "bridge.metrics": 2,
    "bridge.dataset": 2,
    "bridge.model": 2,
    "bridge.simulator": 2,
    "bridge.report": 3,
    "bridge.synthesis": 3,
    "bridge.training": 3,
    "bridge.index": 3,
    "bridge.evaluation": 4,
    "bridge.web": 4,
    "bridge": 4,
    "pipelines": 5,
    "tune": 6,
    "benchmarks": 7,
}
"""`bridge` itself only hands on the names that people type."""
ABOVE = ("ray", "pipelines", "tune", "benchmarks", "tests")
MOST_LINES = 400

Files = Mapping[str, Path]
Imports = dict[str, set[str]]


def test_imports_go_down_only() -> None:
    assert list(wrong_floors(imports_of(python_files(ROOT)))) == []


def test_there_are_no_circles() -> None:
    assert circle(imports_of(python_files(ROOT))) == []


def test_every_package_says_what_it_is_for() -> None:
    for path in (ROOT / "bridge").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in (*{name.split(".")[0] for name in FLOORS}, "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("bridge.blur", "bridge.common.storage"),
        ("bridge.model.network", "bridge.dataset.labels"),
        ("bridge.training.step", "bridge.index.folder"),
        ("bridge.report.html", "bridge.index.folder"),
        ("bridge.web.app", "bridge.evaluation.protocols"),
        ("bridge.index.search", "bridge"),
        ("bridge.training.step", "ray"),
        ("bridge.training.step", "pipelines.train"),
        ("bridge.synthesis.shard", "bridge.unknown"),
    ],
)
def test_the_rule_finds_what_breaks_it(module: str, imported: str) -> None:
    assert list(wrong_floors({module: {imported}}))


def test_the_rule_lets_pass_what_keeps_it() -> None:
    kept = {"bridge.training.step": {"bridge.training.losses", "bridge.model.network", "numpy"}}
    assert list(wrong_floors(kept)) == []


def test_circles_are_found(tmp_path: Path) -> None:
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "__init__.py").write_text("from bridge.a import x")
    (tmp_path / "bridge" / "a.py").write_text("def f():\n    from bridge import b")
    (tmp_path / "bridge" / "b.py").write_text("import bridge.a")
    assert set(circle(imports_of(python_files(tmp_path)))) == {"bridge.a", "bridge.b"}


def python_files(root: Path) -> Files:
    """Paths by module name."""
    tops = sorted({name.split(".")[0] for name in FLOORS})
    paths = itertools.chain.from_iterable((root / top).rglob("*.py") for top in tops)
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def imports_of(files: Files) -> Imports:
    """Modules that each module imports anywhere in it; those of the library by their file."""
    return {
        module: {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            for name in _imported(node, files)
        }
        for module, path in files.items()
    }


def _imported(node: ast.AST, files: Files) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module, "imports name the whole path"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in files else node.module


def wrong_floors(imports: Imports) -> Iterator[str]:
    """What breaks the rule, a sentence each."""
    for module, names in sorted(imports.items()):
        own = room_of(module)
        for name in sorted(names):
            if own.startswith("bridge") and name.split(".")[0] in ABOVE:
                yield f"{module} imports {name}, which is above the library"
            if name.split(".")[0] not in ("bridge", "pipelines", "tune", "benchmarks"):
                continue
            other = room_of(name)
            # The front of the library may be used from anywhere above it.
            if other != own and FLOORS.get(other, 99) >= FLOORS.get(own, 0):
                yield f"{module} imports {name}, which is not on a lower floor"


def room_of(module: str) -> str:
    """The package (or lone file) of the library that a module is in; the folder elsewhere."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "bridge" else parts[0]


def circle(imports: Imports) -> list[str]:
    """Modules that import each other in a circle; empty where there is none.

    A package's `__init__`, which hands on the names of its files, counts for those outside only.
    """
    packages = {name.rpartition(".")[0] for name in imports} & imports.keys()
    graph = {
        module: {name for name in names if name in imports and name not in packages}
        for module, names in imports.items()
        if module not in packages
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []
