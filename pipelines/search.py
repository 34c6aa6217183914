"""Find the database images most like some pictures.

python pipelines/search.py --images a.jpg photos/ --top 20
python pipelines/search.py --images photos/ --blur-levels 1 2 --html found.html
python pipelines/search.py --index indexes/mine --images a.jpg --json
python pipelines/search.py --images a.jpg --rerank superglobal
python pipelines/search.py --photos PHOTOS --model runs/bridge/model --images a.jpg

With --photos a folder of photos is imported and indexed first, or what was added to it since.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import PICTURE_SUFFIXES, is_printable, natural, shown
from bridge.common.places import Place, folders_in, place
from bridge.common.progress import progress
from bridge.common.record import Count, check
from bridge.index.config import TOP, AlphaQE, RerankName, SuperGlobal, rerank_of

# What takes seconds to import is imported once the pictures and the index are known to be there.
if TYPE_CHECKING:
    from bridge.index.catalogue import Box
    from bridge.index.searcher import Found, Searcher
    from bridge.web.gallery import Row

BATCH = 64
"""Pictures that are read and embedded together."""


@dataclass(frozen=True)
class SearchConfig:
    """What to look for, and where."""

    images: tuple[Path, ...]
    """Pictures to search with, and folders with such; `./-a.jpg` for a name with a dash first."""
    index: str = "indexes/bridge"
    """The index to search."""
    photos: str | None = None
    """Search a folder of photos instead."""
    library: str | None = None
    """Where copies and index of --photos are kept; default: a folder of the user's cache."""
    top: Count = TOP
    """Results per picture."""
    blur_levels: tuple[Annotated[int, Ge(1), Le(10)], ...] = ()
    """Only results of these blur levels."""
    objects: tuple[str, ...] = ()
    """Only results that show these objects."""
    model: str | None = None
    """The model that built the index, where it is no longer where it was then; with --photos, the
    model to embed them with."""
    device: str = "cpu"
    """Where to embed, e.g. cuda."""
    rerank: RerankName = "none"
    """Have the best results put the others in another order."""
    aqe: AlphaQE = field(default_factory=AlphaQE)
    """Of alpha query expansion."""
    superglobal: SuperGlobal = field(default_factory=SuperGlobal)
    """Of SuperGlobal re-ranking."""
    json: bool = False
    """Print JSON instead of tables."""
    html: str | None = None
    """Write the results with their pictures to this page too."""

    def __post_init__(self) -> None:
        check(self)
        if self.library is not None and self.photos is None:
            raise InputError("`library` is that of `photos`: give both.")


def run(config: SearchConfig) -> list[dict[str, Any]]:
    """Search and print; returns one entry per picture, in their order.

    Raises:
        InputError: a path is not there, no picture can be read, or as `Searcher` does.
    """
    paths, passed_over = picture_paths(config.images)
    if not paths:
        others = f"; passed over: {'; '.join(passed_over)}" if passed_over else ""
        raise InputError(
            f"The folders named with --images hold no pictures ({', '.join(PICTURE_SUFFIXES)})"
            f"{others}."
        )
    if config.html is not None:
        storage.prepare_file(config.html)
    for note in passed_over:
        print(f"passed over: {note}", file=sys.stderr)
    index = config.index
    if config.photos is not None:
        from pipelines.stages.photo_library import up_to_date

        with contextlib.redirect_stdout(sys.stderr):
            index = up_to_date(config.photos, config.model, config.library)
    from bridge.index.searcher import Searcher

    threads = os.cpu_count() or 1
    searcher = Searcher(
        index,
        model=config.model,
        device=config.device,
        threads=threads,
        rerank=rerank_of(config.rerank, config.aqe, config.superglobal),
    )
    found: list[tuple[Place, Found]] = []
    rows: list[Row] = []
    # The results own the output; what is told of the progress goes beside it.
    with contextlib.redirect_stdout(sys.stderr):
        for path, image, one in _search(searcher, paths, config):
            found.append((path, one))
            if config.html is not None:
                from bridge.web.gallery import gallery_row

                rows.append(gallery_row(str(path), image, one))
    entries = [{"image": str(path)} | _flat(one) for path, one in found]
    print(json.dumps(entries, indent=1) if config.json else "\n\n".join(map(_table, entries)))
    if config.html is not None:
        from bridge.web.gallery import gallery_page

        storage.write_bytes(config.html, gallery_page(rows, config.photos or index).encode())
        print(f"written: {config.html}", file=sys.stderr)
    _report_unreadable(found)
    return entries


def picture_paths(named: Sequence[Path]) -> tuple[list[Place], list[str]]:
    """The files among some paths, and the pictures in the folders among them at any depth.

    Files of a folder come in natural order, a2 before a10.

    Returns:
        The pictures, and what was passed over, in words: files of names that cannot be printed,
        and for each folder what else it holds.

    Raises:
        InputError: a path is not there.
    """
    places = [place(path) for path in named]
    for path in places:
        if not path.exists():
            raise InputError(f"{shown(path)} does not exist.")
    found: list[Place] = []
    passed_over = []
    for path in places:
        if not is_printable(str(path)):
            passed_over.append(f"{shown(path)}, whose name cannot be printed")
        elif path.is_dir():
            folders = folders_in(path, PICTURE_SUFFIXES)
            found += sorted(map(place, folders.files()), key=natural)
            summary = folders.summary()
            passed_over += [f"{summary} in {path}"] if summary else []
        else:
            found.append(path)
    return found, passed_over


def _search(
    searcher: Searcher, paths: Sequence[Place], config: SearchConfig
) -> Iterator[tuple[Place, bytes, Found]]:
    """Every picture with what was found for it; empty where its file cannot be read."""
    from bridge.index.searcher import Found

    starts = range(0, len(paths), BATCH)
    with progress("search", len(paths), "pictures") as counter:
        for some in (paths[start : start + BATCH] for start in starts):
            images, errors = zip(*map(_read, some), strict=True)
            found = searcher.search(images, config.top, config.blur_levels, config.objects)
            for path, image, one, error in zip(some, images, found, errors, strict=True):
                yield path, image, Found(error=error) if error else one
            counter.advance(len(some))


def _read(path: Place) -> tuple[bytes, str | None]:
    try:
        return path.read_bytes(), None
    except OSError as error:
        return b"", error.strerror or str(error)


def _report_unreadable(found: Sequence[tuple[Place, Found]]) -> None:
    """Name what could not be read; InputError where that was everything."""
    bad = [(path, one.error) for path, one in found if one.error]
    if not bad:
        return
    path, why = bad[0]
    if len(bad) == len(found):
        several = f", nor are the other {len(bad) - 1}" if len(bad) > 1 else ""
        raise InputError(f"{path} is not a readable picture ({why}){several}.")
    for path, why in bad:
        print(f"not readable: {path}: {why}", file=sys.stderr)
    print(f"{len(bad)} of {len(found)} pictures could not be read.", file=sys.stderr)


def _flat(found: Found) -> dict[str, Any]:
    """As JSON, each result in one object."""
    value = asdict(found)
    value["results"] = [hit | hit.pop("entry") for hit in value["results"]]
    return value


def _table(entry: dict[str, Any]) -> str:
    if entry["error"]:
        return f"{entry['image']}\nnot readable: {entry['error']}"
    lines = [entry["image"]]
    if entry["blur_severity"] is not None:
        lines.append(
            f"predicted blur level {entry['blur_level']}, severity {entry['blur_severity']:.2f}"
        )
    if entry["bbox"] is not None:
        lines.append(f"predicted box {_sides(entry['bbox'])} (cx cy w h)")
    if not entry["results"]:
        return "\n".join([*lines, "No image of the index fits the filters."])
    lines.append(f"{'rank':>4} {'similarity':>10} {'BL':>3}  {'box':<23}  image")
    for hit in entry["results"]:
        lines.append(
            f"{hit['rank']:>4} {hit['similarity']:>10.4f} {_level(hit):>3}  "
            f"{_sides(hit['bbox']):<23}  {hit['image_id']}"
        )
    return "\n".join(lines)


def _level(hit: dict[str, Any]) -> str:
    """A blur level, with a tilde where the network says it."""
    mark = "~" if hit["is_estimated"] else ""
    return "-" if hit["blur_level"] is None else f"{mark}{hit['blur_level']}"


def _sides(box: Box | None) -> str:
    return "-" if box is None else " ".join(f"{side:.3f}" for side in box)


def main() -> None:
    """The command."""
    cli.main(run, SearchConfig, description=__doc__)


if __name__ == "__main__":
    main()
