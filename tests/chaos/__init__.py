"""Commands that are struck at random points while they run: no result may change.

    make chaos
    .venv/bin/python -m tests.chaos --seed 3                       # the same with other points
    .venv/bin/python -m tests.chaos synthesis index                # of some subjects
    .venv/bin/python -m tests.chaos training --kills 34 -- --preset quick --data DATASET

Every subject runs once undisturbed. Then it is struck (`grounds.py`) on a cluster of its own and on
one of several nodes, at points that are spread over its whole length, and started again where that
ended it. All runs must leave the same (`contents.py`). Options behind `--` go to the command, which
is struck on a cluster of its own.
"""
