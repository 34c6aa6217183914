from __future__ import annotations

from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.manifest import Manifest, Rejection, ShardResult, load_manifest
from bridge.dataset.schema import to_table
from bridge.dataset.shards import shard_path, write_shard
from pipelines.stages.dataset_request import earlier_manifest
from pipelines.stages.shards import Losses, Shards, finish, make_missing
from tests.factories import make_dataset

UNREADABLE = "unreadable"


def losses(most: float) -> Losses:
    return Losses(8, most, "photos", (UNREADABLE,))


def lose(number: int, folder: str) -> ShardResult:
    """A shard that lost its two images, and met something that stands for none."""
    table, path = to_table([]), shard_path("real", number, 4)
    rejections = [Rejection(UNREADABLE, f"{number}/{i}.jpg", "truncated") for i in range(2)]
    record = write_shard(folder, path, "real", table)
    return ShardResult.of(record, table, [*rejections, Rejection("hidden", "all the others")])


@pytest.mark.usefixtures("ray_cluster")
def test_too_many_losses_end_it_and_what_was_made_is_kept(tmp_path: Path) -> None:
    folder, empty = str(tmp_path), Manifest("photos", {})
    shards = Shards([*range(4)], 4, 8, 8, losses(0.3))
    with pytest.raises(InputError, match=r"At least 4 of 8 photos .* e.g. ./0.jpg .truncated.\."):
        make_missing("import", folder, empty, shards, lose, folder)
    begun = load_manifest(folder)
    assert 2 <= len(begun.shards) < 4
    left = [number for number in range(4) if shard_path("real", number, 4) not in begun.shards]
    with pytest.raises(InputError, match="came to nothing"):
        make_missing("import", folder, begun, Shards(left, 4, 8, 4, losses(0.3)), lose, folder)
    kept = Shards(left, 4, 8, 2 * len(left), losses(1.0))
    done = finish(folder, make_missing("import", folder, begun, kept, lose, folder))
    assert done.complete and load_manifest(folder) == done
    assert done.to_json()["rejected"] == {"hidden": 1, UNREADABLE: 8}


def test_what_an_earlier_run_left_must_have_the_same_options(tmp_path: Path) -> None:
    assert earlier_manifest(str(tmp_path), {"seed": 0}) is None
    make_dataset(tmp_path, {"test": 1}, trajectories=1)
    options = {"made_for": "tests"}
    assert earlier_manifest(str(tmp_path), options) == load_manifest(str(tmp_path))
    assert earlier_manifest(str(tmp_path), {**options, "new": 1}, {"new": 1}) is not None
    with pytest.raises(InputError, match="made_for tests instead of others"):
        earlier_manifest(str(tmp_path), {"made_for": "others"})
