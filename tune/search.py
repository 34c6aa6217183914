"""Search the contrastive range and the loss weights for the best validation mAP.

    python tune/search.py                                  # short trials on demo-size data
    python tune/search.py --data data/mine --out runs/search --num-trials 50 --epochs 30 --dry-run
    python tune/search.py --data data/mine --out runs/range --preset range    # mAP against r
    python tune/search.py --space.contrastive-range 1 3 5 --fix learning-rate=1e-4
    python tune/search.py --report runs/search

Every trial is the ordinary trainer. Optuna proposes, ASHA stops what falls behind. Run the same
command again after an interruption: finished trials are kept and the others continue. What
train.py --config takes is written to OUT/best.json, and what was learnt to OUT/report.html.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bridge.common import cli, storage
from bridge.common.errors import Failed, InputError
from bridge.common.identity import refuse_difference
from pipelines import train
from tune.options import SearchConfig, Space

__all__ = ["SearchConfig", "Space", "run"]

SEARCH_FILE = "search.json"


def run(config: SearchConfig) -> dict[str, Any]:
    """Search, or continue, and write the best configuration.

    Gives what best.json holds; nothing for a dry run or a report.

    Raises:
        InputError: an option, the data, or what lies in the folder cannot be used.
        Failed: a trial failed; what came of the others is in the folder.
    """
    from tune.space import base_training, dimensions, num_trials

    if config.report is not None:
        _draw_again(config.report)
        return {}
    out = storage.absolute(config.out)
    space, base = dimensions(config), base_training(config, out)
    check_identity(config, out)
    # What takes seconds to import is imported, and a cluster started, once there is data.
    from pipelines.stages import train_plan

    is_missing = train_plan.is_missing_default(config.data)
    if not is_missing:
        _check_data(config.data)
    wanted = num_trials(config, space)
    if config.dry_run:
        from tune.cost import dry_run

        dry_run(config, space, base, wanted, is_missing=is_missing)
        return {}
    from pipelines.stages import cluster

    cluster.connect(config.num_cpus, dashboard=True)
    if is_missing:
        train.ensure_data(config.data, config.num_cpus)
        _check_data(config.data)
    from pipelines.stages.running import running
    from tune.records import read_trials
    from tune.results import BEST_FILE, conclude
    from tune.trials import concurrency, search

    _say(config, space, wanted, concurrency(config))
    with running("tune", out, config.watch):
        storage.write_json(storage.join(out, SEARCH_FILE), config.recorded())
        if sum(trial.is_done for trial in read_trials(out)) < wanted:
            storage.delete(storage.join(out, BEST_FILE))
        search(config, space, base, wanted)
        best = conclude(config, space, out)
        refuse_failed(out)
        return best


def _say(config: SearchConfig, space: Any, wanted: int, at_a_time: int) -> None:
    kind = "all combinations" if config.is_grid else "proposed by Optuna, stopped by ASHA"
    print(f"{wanted} trials of --preset {config.varied}, {kind}, {at_a_time} at a time. Varied:")
    for name, dimension in space.items():
        print(f"  {name.replace('_', '-')}: {dimension}")
    if config == replace(
        SearchConfig(), data=config.data, out=config.out, num_cpus=config.num_cpus
    ):
        print(
            "This only shows that it works. For an answer give your --data, --num-trials 50 and "
            "--epochs 14 or more, or --preset range; --dry-run tells the cost."
        )
    print(end="", flush=True)


def refuse_failed(out: str) -> None:
    """Failed where trials failed; what came of the others has been written."""
    from tune.records import read_trials

    trials = read_trials(out)
    failed = sum(trial.outcome == "failed" for trial in trials)
    if failed:
        raise Failed(
            f"{failed} of {len(trials)} trials failed. The same command tries them again; what is "
            f"finished is in {out}."
        )


def _draw_again(folder: str) -> None:
    out = storage.absolute(folder)
    recorded = _recorded(out)
    if recorded is None:
        raise InputError(f"{out} holds no search.")
    from tune.results import draw, measured_trials, table
    from tune.space import dimensions

    measured = measured_trials(out)
    print("\n".join(table(measured)))
    draw(recorded, dimensions(recorded), out, measured)
    print(f"drawn again: {storage.join(out, 'report.html')}")


def _check_data(data: str) -> None:
    from bridge.dataset.manifest import open_manifest
    from pipelines.stages import train_plan

    train_plan.check_data(data)
    if "validation" not in open_manifest(storage.absolute(data)).counts():
        raise InputError(
            f"{data} has no validation objects to compare trials by: a category needs 7 objects "
            "to give one."
        )


def check_identity(config: SearchConfig, out: str) -> None:
    """InputError where another search is in a folder."""
    known = _recorded(out)
    if known is not None:
        content = "a search with another configuration"
        refuse_difference(out, content, known.identity(), config.identity())


def _recorded(out: str) -> SearchConfig | None:
    from bridge.common.record import read_record

    path = storage.join(out, SEARCH_FILE)
    return read_record(SearchConfig, path) if storage.exists(path) else None


def main() -> None:
    """The command."""
    cli.main(run, SearchConfig, description=__doc__)


if __name__ == "__main__":
    main()
