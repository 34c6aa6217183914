"""What commands and the library say: parameters in the library, options in commands.

The library is used without a command line too, so its errors name parameters in backquotes, and
`bridge/common/cli.py` turns them into options where a command prints them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.common.cli import as_options, options_of
from bridge.common.errors import InputError
from bridge.web.uploads import Limits
from pipelines.build_index import BuildIndexConfig
from pipelines.demo import DemoConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.import_photos import ImportPhotosConfig
from pipelines.import_romb import ImportRombConfig
from pipelines.import_videos import ImportVideosConfig
from pipelines.search import SearchConfig
from pipelines.search_video import SearchVideoConfig
from pipelines.serve import ServeConfig
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.synthesis_options import PRESETS as SYNTHESES
from pipelines.stages.train_options import PRESETS as METHODS
from pipelines.stages.train_options import trainings
from tune.search import SearchConfig as TuneConfig

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
SPEAKS_OF_OPTIONS = ("common/cli.py",)
"""Of the library: what makes command lines, or starts another program."""


def options_in(source: str) -> Iterator[tuple[int, str]]:
    """Options in the text of a module, with their lines; docstrings and comments do not count."""
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in bare:
            yield from ((node.lineno, found) for found in OPTION.findall(node.value))  # type: ignore[attr-defined, arg-type]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise E('--epochs is too small')", ["--epochs"]),
        ("raise E(f'{x} needs --image-size, not {y}')", ["--image-size"]),
        ("def f():\n    '''What --epochs means.'''\nX = 1\n'''Of --x.'''", []),
        ("X = 1  # for --x", []),
        ("raise E('`epochs` is too small -- or x--y, or var(--ground)')", ["--ground"]),
    ],
)
def test_options_are_found_in_text(source: str, found: list[str]) -> None:
    assert [option for _, option in options_in(source)] == found


def test_the_library_speaks_of_parameters() -> None:
    library = ROOT / "bridge"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {option}"
        for path in sorted(library.rglob("*.py"))
        if str(path.relative_to(library)) not in SPEAKS_OF_OPTIONS
        for line, option in options_in(path.read_text())
    ]
    assert found == []


COMMANDS = (
    BuildIndexConfig,
    DemoConfig,
    EvaluateConfig,
    ImportPhotosConfig,
    ImportRombConfig,
    ImportVideosConfig,
    SearchConfig,
    SearchVideoConfig,
    ServeConfig,
    StudyConfig,
    TuneConfig,
)


BOX = (0.5, 0.5, 0.1, 0.1)


def test_every_option_sets_one_field() -> None:
    for kind in COMMANDS:
        options_of(kind)
    configs = [config for presets in SYNTHESES.values() for config in presets.values()]
    trained = [config for method in METHODS for config in trainings(method).values()]
    for config in (*configs, *trained):
        options_of(type(config), config)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (BuildIndexConfig, {"seed": -1}, "--seed must be at least 0, not -1."),
        (BuildIndexConfig, {"batch_size": 0}, "--batch-size must be at least 1, not 0."),
        (BuildIndexConfig, {"num_workers": 0}, "--num-workers must be at least 1, not 0."),
        (BuildIndexConfig, {"max_rejected": 1.5}, "--max-rejected must be at most 1, not 1.5."),
        (DemoConfig, {"epochs": 0}, "--epochs must be at least 1, not 0."),
        (DemoConfig, {"image_size": (8, 80)}, "--image-size must be at least 16, not 8."),
        (EvaluateConfig, {"seed": -1}, "--seed must be at least 0, not -1."),
        (EvaluateConfig, {"galleries_per_level": -1}, "--galleries-per-level must be at least 0,"),
        (ImportPhotosConfig, {"photos": "", "queries": 2.0}, "--queries must be at most 1, not 2"),
        (ImportPhotosConfig, {"photos": "", "max_side": 4}, "--max-side must be at least 16,"),
        (ImportPhotosConfig, {"photos": "", "table": "t", "layout": "flat"}, "--table says what"),
        (SearchConfig, {"images": (), "library": "l"}, "--library is that of --photos"),
        (ServeConfig, {"library": "l"}, "--library is that of --photos"),
        (ImportRombConfig, {"seed": -1}, "--seed must be at least 0, not -1."),
        (ImportRombConfig, {"max_rejected": 2.0}, "--max-rejected must be at most 1, not 2.0."),
        (SearchConfig, {"images": (), "top": 0}, "--top must be at least 1, not 0."),
        (SearchConfig, {"images": (), "blur_levels": (0,)}, "--blur-levels must be at least 1,"),
        (SearchConfig, {"images": (), "blur_levels": (11,)}, "--blur-levels must be at most 10,"),
        (ImportVideosConfig, {"videos": "", "images": 129}, "--images must be at most 128, not"),
        (SearchVideoConfig, {"video": Path(), "box": BOX, "frame": -1}, "--frame must be at least"),
        (ServeConfig, {"port": 70_000}, "--port must be at most 65535, not 70000."),
        (ServeConfig, {"replicas": 0}, "--replicas must be at least 1, not 0."),
        (ServeConfig, {"timeout": 0.0}, "--timeout must be more than 0, not 0.0."),
        (ServeConfig, {"cpus_per_replica": 0.0}, "--cpus-per-replica must be more than 0,"),
        (StudyConfig, {"passes": 0}, "--passes must be at least 1, not 0."),
        (StudyConfig, {"seeds": (-1,)}, "--seeds must be at least 0, not -1."),
        (StudyConfig, {"num_workers": 0, "concurrent_runs": 2}, "--num-workers 0 trains one run"),
        (Limits, {"megapixels": 65.0}, "--megapixels must be at most 64, not 65.0."),
        (Limits, {"megabytes": float("inf")}, "--megabytes must be a finite number, not inf."),
        (Limits, {"images": 0}, "--images must be at least 1, not 0."),
        (Limits, {"top": 0}, "--top must be at least 1, not 0."),
    ],
)
def test_options_out_of_range_are_named(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        kind(**options)
    assert as_options(str(error.value)).startswith(message)
