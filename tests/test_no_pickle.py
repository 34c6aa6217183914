"""Nothing that lies in a folder can run code: no file is unpickled."""

from __future__ import annotations

import ast
import contextlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz_subjects import REFUSALS, SUBJECTS

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for part in ("bridge", "pipelines", "tune") for path in (ROOT / part).rglob("*.py")
)
LOADERS = {
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "cloudpickle.load",
    "cloudpickle.loads",
    "joblib.load",
    "dill.load",
    "marshal.loads",
    "shelve.open",
    "yaml.load",
    "torch.load",
    "torch.jit.load",
    "np.load",
    "numpy.load",
    "Tuner.restore",
    "ray.tune.Tuner.restore",
    "eval",
    "exec",
}
ALLOWED = {
    # What this process, or one that it started, has put into the cluster's memory.
    ("pipelines/stages/engine.py", "pickle.loads"),
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_loader_runs_code(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        loader = ast.unparse(node.func)
        if loader not in LOADERS or (name, loader) in ALLOWED:
            continue
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        is_safe = given.get("weights_only") == "True" or given.get("allow_pickle") == "False"
        assert is_safe, f"{name}:{node.lineno} calls {loader}"


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._marker,)


@pytest.mark.long
def test_a_hostile_file_in_the_place_of_any_artefacts_is_only_refused(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.fuzz_subjects", tmp_path], cwd=ROOT, check=True)
    sound, marker = tmp_path / "sound", tmp_path / "marker"
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists()
    marker.unlink()
    for name, subject in SUBJECTS.items():
        for path in sorted(path for pattern in subject.files for path in sound.glob(pattern)):
            data = path.read_bytes()
            path.write_bytes(pickle.dumps(Bomb(marker)))
            with contextlib.suppress(*REFUSALS):
                subject.read(sound)
            path.write_bytes(data)
            assert not marker.exists(), f"{name}: {path}"
