"""Search the contrastive range and the loss weights for the best validation mAP.

    python tune/search.py                                  # short trials on demo-size data
    python tune/search.py --data data/mine --out runs/search --num-trials 50 --epochs 30

Every trial is the ordinary trainer. Optuna proposes, ASHA stops what falls behind. Run the same
command again after an interruption: finished trials are kept and the others continue. The best
configuration is printed and written to OUT/best.json.
"""

from __future__ import annotations

from typing import Any

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.common.record import read_record
from pipelines import train
from tune.options import SearchConfig

SEARCH_FILE = "search.json"


def run(config: SearchConfig) -> dict[str, Any]:
    """Search, or continue, and write the best configuration."""
    out = storage.absolute(config.out)
    check_identity(config, out)
    # What takes seconds to import is imported, and a cluster started, once there is data.
    from pipelines.stages import train_plan

    is_missing = train_plan.is_missing_default(config.data)
    if not is_missing:
        _check_data(config.data)
    from pipelines.stages import cluster

    cluster.connect(config.num_cpus, dashboard=True)
    if is_missing:
        train.ensure_data(config.data, config.num_cpus)
        _check_data(config.data)
    from pipelines.stages.claim import claimed
    from tune.trials import search

    with claimed(out):
        storage.write_json(storage.join(out, SEARCH_FILE), config.identity())
        return search(config, out)


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
    path = storage.join(out, SEARCH_FILE)
    if storage.exists(path):
        content = "a search with another configuration"
        recorded = read_record(dict[str, Any], path)
        refuse_difference(out, content, recorded, config.identity())


def main() -> None:
    """The command."""
    cli.main(run, SearchConfig, description=__doc__)


if __name__ == "__main__":
    main()
