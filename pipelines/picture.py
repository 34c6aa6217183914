"""Draw one picture of what an index does: for a page, a talk, a first look.

    python pipelines/picture.py --data data/synthetic --index indexes/bridge
    python pipelines/picture.py --query bed/oak/003/8 --out docs/figures/readme.jpg

The top row is one trajectory under growing exposure, with the blur level and blur severity of each
image. Below are a query of that trajectory and what is retrieved for it, framed green where it
shows the same object and red where it does not. Unless one is named, the query is chosen by rule:
of the most blurred queries the one whose average precision is the median, neither the best nor the
worst of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.record import Count, WholeNumber, check


@dataclass(frozen=True)
class PictureConfig:
    """What to draw."""

    data: str = "data/synthetic"
    """The dataset of the queries."""
    index: str = "indexes/bridge"
    """An index of it."""
    out: str = "picture.jpg"
    """The picture, a JPEG of 300 kB at most."""
    query: str | None = None
    """The image_id of a query of the index; default: a typical one of the most blurred."""
    windows: Annotated[tuple[WholeNumber, ...], MinLen(2)] = (
        0,
        2,
        4,
        6,
        8,
        10,
    )
    """The exposures of the top row, in sub-trajectories: 0 is sharp, 10 the longest."""
    top: Count = 10
    """Results that are shown."""

    def __post_init__(self) -> None:
        check(self)


def run(config: PictureConfig) -> str:
    """Draw the picture; returns the image_id of its query.

    Raises:
        InputError: the index is not of this dataset or knows no such query, an exposure or an
            image is not there.
    """
    out = storage.prepare_file(config.out)
    # What takes seconds to import is imported once the folders have been opened.
    from bridge.dataset.manifest import open_manifest
    from bridge.index.folder import open_index_manifest

    data, index = storage.absolute(config.data), storage.absolute(config.index)
    manifest = open_index_manifest(index)
    if open_manifest(data).content_hash not in manifest.datasets.values():
        raise InputError(f"{config.index} is not an index of {config.data}.")
    from pipelines.stages.picturing import draw

    picture, query, correct, shown = draw(
        data, index, manifest, config.query, config.windows, config.top
    )
    storage.write_bytes(out, picture)
    print(f"{config.out}: {query}, {correct} of {shown} results correct")
    return query


def main() -> None:
    """The command."""
    cli.main(run, PictureConfig, description=__doc__)


if __name__ == "__main__":
    main()
