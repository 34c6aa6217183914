from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
STEPS = """
from bridge.common.compiled import compiled

@compiled(error_model="numpy")
def half(value):
    return value / 2
"""


def half_of_three(folder: Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    """Compile where neither the folder of the source nor a home can be written in."""
    source = folder / "installed"
    source.mkdir()
    (source / "steps.py").write_text(STEPS)
    # Also for root, who may write where nobody else may.
    (source / "__pycache__").touch()
    nowhere = str(source / "steps.py" / "home")
    return subprocess.run(
        [sys.executable, "-c", "from steps import half; print(half(3.0))"],
        env=os.environ
        | {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "TMPDIR": str(temporary)}
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{source}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


def test_without_a_home_compiled_code_is_kept_in_a_private_folder(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    done = half_of_three(tmp_path, tmp_path / "t")
    assert (done.stdout, done.stderr) == ("1.5\n", "")
    kept = tmp_path / "t" / f"bridge-numba-{os.getuid()}"
    assert list(kept.rglob("*.nbi"))
    assert kept.stat().st_mode & 0o777 == 0o700


def test_nothing_is_kept_where_others_could_write(tmp_path: Path) -> None:
    kept = tmp_path / "t" / f"bridge-numba-{os.getuid()}"
    kept.mkdir(parents=True)
    kept.chmod(0o777)
    done = half_of_three(tmp_path, tmp_path / "t")
    assert (done.stdout, done.stderr) == ("1.5\n", "")
    assert list(kept.iterdir()) == []


def test_nothing_is_compiled_in_another_way() -> None:
    others = [
        path.name
        for path in (ROOT / "bridge").rglob("*.py")
        if path.name != "compiled.py" and "njit" in path.read_text()
    ]
    # Metrics know no other package.
    assert others == ["ranking.py"]
