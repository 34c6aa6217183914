"""The console script: its map, its refusals, and the wheel that brings it."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bridge
from pipelines import __main__ as console
from tests.children import ROOT, python

CALL = "from pipelines.__main__ import main\nsys.argv = ['bridge-retrieval', *{!r}]\nmain()"


def test_every_command_is_on_the_map_once(capsys: pytest.CaptureFixture[str]) -> None:
    console.run(["--help"])
    printed = capsys.readouterr().out
    named = re.findall(r"^  ([a-z][\w-]+) +[A-Z]", printed, re.MULTILINE)
    assert sorted(named) == sorted(console.commands())
    grouped = [name for names in console.GROUPS.values() for name in names]
    assert named[: len(grouped)] == grouped
    assert max(map(len, printed.splitlines())) <= 120


def test_commands_that_are_in_no_group_are_shown_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "GROUPS", {"first": ("serve", "not-made-yet")})
    lines = console.command_map().splitlines()
    assert lines.index("first") < lines.index("more")
    assert "not-made-yet" not in console.command_map() and "  train " in console.command_map()


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["--version"], ["trian"]])
def test_the_map_imports_no_command(arguments: list[str], tmp_path: Path) -> None:
    ended = python(CALL.format(arguments), tmp_path)
    assert ended.code == (2 if arguments == ["trian"] else 0), ended.errors
    assert ended.has("pipelines.train", "pydantic", "numpy", "torch", "ray") == set()


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    console.run(["--version"])
    assert capsys.readouterr().out == f"bridge-retrieval {bridge.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"), [("trian", "train"), ("buildindex", "build-index"), ("xyz", "")]
)
def test_an_unknown_command_is_one_sentence_with_the_nearest(
    typed: str, meant: str, tmp_path: Path
) -> None:
    ended = python(CALL.format([typed]), tmp_path)
    assert ended.code == 2 and ended.output == ""
    assert ended.errors.startswith(f"error: There is no command '{typed}'")
    assert f"did you mean {meant}" in ended.errors and ended.errors.count("\n") == 1


@pytest.mark.parametrize("name", console.commands())
@pytest.mark.parametrize("arguments", [["--help"], ["--no-such-option"]])
def test_a_sub_command_is_the_command(name: str, arguments: list[str], tmp_path: Path) -> None:
    file = console.commands()[name].replace(".", "/") + ".py"
    alone = subprocess.run(
        [sys.executable, ROOT / file, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    inside = python(CALL.format([name, *arguments]), tmp_path)

    def text(output: str) -> list[str]:
        """Without what is said of the program's own name, and where lines end because of it."""
        named = output.replace(str(ROOT / file), "NAME").replace(f"bridge-retrieval {name}", "NAME")
        return re.sub(r"[╭╮╰╯│─\s]+", " ", named).split()

    assert inside.code == alone.returncode
    assert text(inside.output) == text(alone.stdout)
    assert text(inside.errors) == text(alone.stderr)


def test_underscores_are_taken_for_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        console.run(["build_index", "--help"])
    assert end.value.code == 0 and "usage: bridge-retrieval build_index" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str, tmp_path: Path) -> None:
    file = tmp_path / "completion"
    with pytest.raises(SystemExit) as end:
        console.run(["--tyro-write-completion", shell, str(file)])
    assert end.value.code in (0, None)
    script = file.read_text()
    assert all(name in script for name in console.commands())
    for option in ("--num-workers", "--epochs", "--blur-levels", "--limits.megabytes", "--meshes"):
        assert option.removeprefix("--") in script
    assert "recipe.epochs" not in script
    if shell == "bash":
        subprocess.run(["bash", "-n", str(file)], check=True)


@pytest.mark.parametrize("name", console.commands())
def test_every_command_has_options_and_a_main(name: str) -> None:
    module = console.commands()[name]
    assert console.options_class(module).__module__.startswith(("pipelines", "tune"))
    assert callable(importlib.import_module(module).main)
    assert console.summary(module)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    pytest.importorskip("hatchling", reason="needs what builds the package (make test has it)")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "bridge", "pipelines", "tune"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    tracked = set(listed.stdout.split())
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert tracked <= held
    # Nothing but the packages would be laid into an environment.
    assert {name.partition("/")[0] for name in held} == {"bridge", "pipelines", "tune"}


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Its files alone, in a folder, beside the libraries of this environment."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (entry_points,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    scripts = configparser.ConfigParser()
    scripts.read_string(entry_points.read_text())
    module, _, function = scripts["console_scripts"]["bridge-retrieval"].partition(":")
    source = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import {module}, bridge.report.templates, bridge.web.templates, bridge.report.paper
assert {module}.__file__.startswith({str(tmp_path / "site")!r}), {module}.__file__
print(len(bridge.report.paper.paper_grids("4")) > 0)
sys.argv = ["bridge-retrieval", "train", "--help"]
from {module} import {function}
{function}()
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True\nusage: bridge-retrieval train")
