"""Commands in children whose standard streams or locale are not what they should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORKS = "lambda: print('x' * 20_000)"
HELPS = "lambda: (print('x' * 20_000), sys.exit(0))"
FAILS = "lambda: (print('begun'), fail())"
ENDS = {WORKS: 0, HELPS: 0, FAILS: 2}


def child(command: str, redirection: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of ours as a shell starts it; its exit code is the child's last line of output."""
    source = f"""
import sys
from bridge.common.cli import guarded
from bridge.common.errors import InputError
def fail():
    raise InputError("This is wrong.")
guarded({command})
"""
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, source],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", ENDS)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_change_nothing(command: str, closed: str) -> None:
    done = child(command, closed)
    assert done.returncode == ENDS[command]
    assert done.stderr == (
        "error: This is wrong.\n" if command == FAILS and closed == ">&-" else ""
    )


@pytest.mark.parametrize("command", [WORKS, HELPS])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_told_in_a_sentence(command: str, unbuffered: str) -> None:
    done = child(command, ">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == "error: The standard output cannot be written: there is no room left.\n"
    assert done.returncode == 1


def test_a_full_output_hides_no_other_error() -> None:
    done = child(FAILS, ">/dev/full", PYTHONUNBUFFERED="")
    assert (done.stderr, done.returncode) == ("error: This is wrong.\n", 2)


@pytest.mark.parametrize("command", [WORKS, HELPS])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_read_enough_ends_a_command_in_silence(
    command: str, unbuffered: str
) -> None:
    ended = "| true; exit ${PIPESTATUS[0]}"
    # `true` may take its time.
    gone = "while not (p := select.poll(), p.register(1, 0))[0].poll(10): pass"
    waiting = f"lambda: (exec('import select\\n{gone}'), ({command})())"
    done = child(waiting, ended, PYTHONUNBUFFERED=unbuffered)
    assert (done.stderr, done.returncode) == ("", 141)


def test_a_broken_pipe_to_another_program_is_an_error() -> None:
    done = child("lambda: (_ for _ in ()).throw(BrokenPipeError(32, 'x', 'blender'))", "")
    assert done.returncode == 1
    assert done.stderr.startswith("error: blender: broken pipe.")


def test_names_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    command = f"lambda: open({str(tmp_path)!r} + '/' + sys.argv[1], 'w').close()"
    done = child(command, "größe", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.stderr, done.returncode) == ("", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["größe"]
    names = "lambda: print(sys.argv[1].encode('utf-8'), sys.argv[1])"
    done = child(names, "größe", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.stdout == f"{'größe'.encode()!r} größe\n"


def test_letters_that_the_output_lacks_are_escaped() -> None:
    done = child("lambda: print('größe')", "", PYTHONIOENCODING="ascii")
    assert (done.stdout, done.returncode) == ("gr\\xf6\\xdfe\n", 0)


def test_arguments_that_are_not_utf_8_are_told() -> None:
    done = child("lambda: print(sys.argv[1].encode('utf-8'))", r"$'\xff'")
    assert done.returncode == 2
    assert done.stderr == "error: '\\udcff' is not UTF-8, as names have to be here.\n"


def test_escapes_in_errors_are_shown() -> None:
    done = child("lambda: (_ for _ in ()).throw(InputError(chr(27) + '[31m is no name.'))", "")
    assert done.stderr == "error: \\x1b[31m is no name.\n"
