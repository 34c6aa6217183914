"""Parse the arguments, strike, and print the table; exit code 1 where anything differs."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests import chaos
from tests.chaos.course import Course, Strike, on_a_small_disk, struck, undisturbed
from tests.chaos.grounds import Alone, Nodes
from tests.chaos.subjects import SUBJECTS
from tests.kills import ROOT
from tests.limits import can_mount


def chosen(kinds: Sequence[str], number: int, rng: random.Random) -> list[str]:
    """So many kinds in a random order, each as often as the others or once more."""
    repeated = [kinds[i % len(kinds)] for i in range(number)]
    rng.shuffle(repeated)
    return repeated


def through_all(
    course: Course, kills: int | None, seed: int, strikes: list[Strike], *, nodes: bool
) -> None:
    """Every kind of strike on every ground, or so many, and a full disk; adds to `strikes`."""
    for ground in (Alone(), Nodes()) if nodes else (Alone(),):
        name = f"{seed} {course.name} {type(ground).__name__}"
        kinds = [kind for kind in ground.kinds if kind not in course.subject.leaves_out]
        wanted = chosen(kinds, kills or len(kinds), random.Random(name))
        strikes += struck(course, ground, wanted, name)
    if nodes and course.subject.fills and can_mount():
        strikes.append(on_a_small_disk(course))


def table(strikes: Sequence[Strike]) -> str:
    """Strikes as a table in Markdown."""
    lines = ["| stage | struck | at | ended by | equal |", "|---|---|---|---|---|"]
    for one in strikes:
        equal = "yes" if one.equal else "**no**"
        lines.append(f"| {one.subject} | {one.kind} | {one.at} | {one.ended} | {equal} |")
    return "\n".join(lines)


def summary(strikes: Sequence[Strike]) -> str:
    """How many kills of which kinds, and where."""
    kinds = Counter(strike.kind for strike in strikes)
    thirds = Counter(min(2, int(3 * strike.share)) for strike in strikes)
    return (
        f"{kinds.total() - kinds['node joins']} kills and {kinds['node joins']} nodes that joined ("
        + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        + f"), {thirds[0]}, {thirds[1]} and {thirds[2]} of them in the first, second and last third"
        + f" of a run: {sum(strike.equal for strike in strikes)} left what an undisturbed run does"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m tests.chaos",
        description=chaos.__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--kills", type=int, help="on each ground (default: one of each kind)")
    parser.add_argument("--seed", type=int, default=0, help="of what is struck, and when")
    parser.add_argument("--folder", type=Path, default=ROOT / "data/chaos", help="of the runs")
    words = [*sys.argv[1:], "--"]
    divide = words.index("--")
    args, given = parser.parse_args(words[:divide]), words[divide + 1 : -1]
    names = args.subjects or list(SUBJECTS)
    if unknown := set(names) - SUBJECTS.keys():
        parser.error(f"there is no subject {', '.join(sorted(unknown))}")
    if given and len(names) > 1:
        parser.error("options behind -- are those of one subject")
    folder = args.folder.absolute()
    strikes: list[Strike] = []
    failed: list[str] = []
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        # Commands beside these do not take the clusters of several nodes for their own.
        os.environ["RAY_TMPDIR"] = temporary
        for name in names:
            try:
                options = given or SUBJECTS[name].words(folder / "inputs")
                course = undisturbed(name, SUBJECTS[name], options, folder / name)
                through_all(course, args.kills, args.seed, strikes, nodes=not given)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed.append(name)
                print(f"{name} failed: {error}", flush=True)
    print(f"\n{table(strikes)}\n\n{summary(strikes)}")
    sys.exit(bool(failed) or not all(strike.equal for strike in strikes))


if __name__ == "__main__":
    main()
