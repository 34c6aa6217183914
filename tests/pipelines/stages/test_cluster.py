from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from bridge.common.errors import Failed, InputError
from pipelines.stages import cluster, local_cluster
from pipelines.stages.cluster import cpus_each
from tests.kills import ROOT

LAPTOP = [{"CPU": 2.0}]
POOL = [{"CPU": 0.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}]
"""A head without work, and two nodes."""


@pytest.mark.parametrize(
    ("nodes", "processes", "most", "on_gpu", "share"),
    [
        (LAPTOP, 1, 16, False, 2),
        (LAPTOP, 2, 16, False, 1),
        (LAPTOP, 4, 16, False, 0.5),
        (LAPTOP, 1, 1, False, 1),
        (LAPTOP, 1, 0.3, False, 0.25),
        # All CPUs together are 16, but no process can have more than a node's.
        (POOL, 1, 16, False, 8),
        # Two on one node and one on the other, not 16 / 3 each.
        (POOL, 3, 16, False, 4),
        (POOL, 2, 16, True, 8),
        # There are only two GPUs.
        (POOL, 3, 16, True, None),
        ([], 1, 16, False, None),
        # A node of GPUs: they limit how many fit, not only the CPUs.
        ([{"CPU": 64.0, "GPU": 8.0}], 8, 16, True, 8),
    ],
)
def test_every_process_fits_on_a_node(
    nodes: list[dict[str, float]], processes: int, most: float, on_gpu: bool, share: float | None
) -> None:
    assert cpus_each(nodes, processes, most, on_gpu=on_gpu) == share


def test_thirds_are_rounded_down_so_that_all_three_fit() -> None:
    share = cpus_each([{"CPU": 1.0}], 3, 16)
    assert share is not None and 0.333 < share * 1.0 <= 1 / 3 and share * 3 <= 1


SAYS_NOTHING = """
from pipelines.stages import cluster
from pipelines.stages.engine import Actors, run

cluster.connect(1)
assert sorted(run(abs, [-1, -2], actors=Actors())) == [1, 2]
"""


def test_what_ray_says_of_its_own_does_not_reach_the_user() -> None:
    environment = os.environ | {"RAY_ADDRESS": "local"}
    said = subprocess.run(
        [sys.executable, "-c", SAYS_NOTHING], env=environment, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@pytest.fixture
def listening() -> Iterator[str]:
    """An address where somebody takes connections."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which `ray start` notes its cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_the_cluster_is_what_ray_address_or_ray_start_names(
    started: Path, listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster.address() is None
    started.write_text(listening)
    assert cluster.address() == listening
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster.address() is None
    monkeypatch.setenv("RAY_ADDRESS", f"ray://{listening}")
    assert cluster.address() == f"ray://{listening}"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cluster.address() == listening


def test_what_an_ended_ray_start_left_is_passed_over(started: Path) -> None:
    for left in (_closed(), "", "nonsense", "\0"):
        started.write_text(left)
        assert cluster.address() is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_cluster_that_somebody_else_started_is_not_joined(started: Path, listening: str) -> None:
    started.write_text(listening)
    os.chown(started, 12345, 12345)
    assert cluster.address() is None


@pytest.mark.parametrize("given", ["", "nonsense", "host", "host:x", "host:99999", "[::1", "auto"])
def test_a_wrong_or_dead_address_is_told_at_once(
    given: str, started: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", given or _closed())
    with pytest.raises(InputError, match="RAY_ADDRESS"):
        cluster.address()


def _closed() -> str:
    """An address where nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_long_temporary_folders_give_way_to_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("a" * 99)))
    assert local_cluster.session_folder().parents[1] == Path("/tmp")
    assert "too long a path for sockets" in capsys.readouterr().out


def test_sessions_are_in_a_folder_of_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_cluster, "MOST_LETTERS", 999)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    folder = local_cluster.session_folder().parent
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(InputError, match="Others can write in .* RAY_TMPDIR"):
        local_cluster.session_folder()


def test_old_sessions_of_ended_commands_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"session_2026-01-02_03-04-05_678901_{pid}" for pid in (dead.pid, os.getpid())]
    for name in (*names, "other"):
        (tmp_path / name).mkdir()
    local_cluster._remove_old(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    local_cluster._remove_old(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {names[1], "other"}


@pytest.mark.parametrize("failures", [1, 2])
def test_a_start_that_took_too_long_is_tried_once_more(
    failures: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(local_cluster, "MOST_LETTERS", 999)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    attempts = 0

    def init(**_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= failures:
            raise RuntimeError("The node timed out.\nMore of it.")

    if failures == 1:
        local_cluster.start(init)
    else:
        with pytest.raises(Failed, match=r"did not start in two attempts \(The node timed out\)"):
            local_cluster.start(init)
    assert attempts == 2 and "once more" in capsys.readouterr().out


def test_the_token_of_a_cluster_is_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with local_cluster._private_token():
        token = tmp_path / ".ray" / "auth_token"
        assert token.parent.stat().st_mode & 0o777 == 0o700
        token.write_text("secret")
        token.chmod(0o644)
    assert token.stat().st_mode & 0o777 == 0o600


LIVES = """
import sys
import ray
from pipelines.stages import cluster

joined = cluster.join()
cluster.connect(1)
print(joined, ray.get_runtime_context().gcs_address, flush=True)
double = ray.remote(lambda number: 2 * number)
for line in sys.stdin:
    print(ray.get(double.remote(int(line))), flush=True)
"""


@pytest.mark.long
def test_two_commands_on_one_machine_have_clusters_of_their_own() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LIVES]
        return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def asked(process: subprocess.Popen[str], number: int) -> str:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        return process.stdout.readline()

    with start() as one:
        assert one.stdout is not None
        joined, first = one.stdout.readline().split()
        assert joined == "False" and first.startswith("127.0.0.1:")
        with start() as other:
            assert other.stdout is not None
            joined, second = other.stdout.readline().split()
            assert joined == "False" and second != first
            assert asked(one, 3) == "6\n" and asked(other, 4) == "8\n"
            # What is named is joined, also where it listens at the loopback address alone.
            joins = (
                "from pipelines.stages import cluster; print(cluster.join(), cluster.num_cpus())"
            )
            named = environment | {"RAY_ADDRESS": first}
            said = subprocess.check_output([sys.executable, "-c", joins], cwd=ROOT, env=named)
            assert said == b"True 1.0\n"
            one.send_signal(signal.SIGKILL)
            one.wait()
            assert asked(other, 5) == "10\n"
            assert other.stdin is not None
            other.stdin.close()
            assert other.wait() == 0
