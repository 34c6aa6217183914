"""The options of `import_photos.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from annotated_types import Ge

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.picture_options import PhotoLayout
from bridge.common.record import Count, Share, WholeNumber, check, to_json
from bridge.common.watch_options import WatchOptions


@dataclass(frozen=True)
class ImportPhotosConfig:
    """What to import.

    Raises:
        InputError: an option out of its range, or `table` and `layout` together.
    """

    photos: str
    """Folder of the photos."""
    out: str = "data/photos"
    """Folder of the dataset."""
    layout: PhotoLayout = "auto"
    """What the folders stand for: objects (<object>/*.jpg), categories (<category>/<object>/*.jpg),
    flat (nothing, the photos are unlabelled), or auto (one of the first two where all photos lie
    one or two folders deep). Folders further in are trajectories of their object."""
    table: str | None = None
    """A CSV or Parquet table that says what the photos are instead: path (below --photos) and any
    of object_id, category, trajectory, blur_level (1 to 10), split, cx, cy, w, h (the box, in
    units of the image size)."""
    queries: Share = 0.0
    """Share of each object's trajectories that are queries; the others are searched. A photo that
    is in no trajectory is one by itself."""
    model: str | None = None
    """A model (folder or checkpoint) that estimates the blur level where none is given, kept apart
    from the given ones in the column estimated_blur_level."""
    max_side: Annotated[int, Ge(16)] | None = None
    """Make photos smaller whose longer side has more pixels; default: keep their bytes."""
    seed: WholeNumber = 0
    """Of the choice of queries."""
    max_rejected: Share = 0.5
    """Give up when more than this share of the photos cannot be read."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)
        if self.table is not None and self.layout != "auto":
            raise InputError("`table` says what the photos are: give it without `layout`.")

    @property
    def folder(self) -> str:
        """Absolute path of the dataset."""
        return storage.absolute(self.out)

    def identity(self) -> dict[str, Any]:
        """The options that decide the rows, as they are read back from a manifest."""
        options = {name: value for name, value in to_json(self).items() if name not in _NO_ROWS}
        for name in ("photos", "table", "model"):
            options[name] = options[name] and storage.absolute(options[name])
        return options


_NO_ROWS = {"out", "max_rejected", "num_cpus", "watch"}
"""Options that change no row."""
