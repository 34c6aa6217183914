"""The options of `import_romb.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tyro

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import Count, Share, WholeNumber, check, to_json
from bridge.common.watch_options import WatchOptions


@dataclass(frozen=True)
class ImportRombConfig:
    """Which of the published sets to import.

    Raises:
        InputError: an option out of its range, or no set.
    """

    synthetic: tuple[str, ...] = ()
    """The set that is trained and evaluated on: its folder, or its zip archive or archives."""
    distractors: tuple[str, ...] = ()
    """The distractors, likewise."""
    real: tuple[str, ...] = ()
    """The real photos, likewise."""
    out: str = "data/romb"
    """Folder of the dataset."""
    alpha: bool = True
    """Read <k>_blurred.png where it is there, for boxes and what the statistics do not say."""
    seed: WholeNumber = 0
    """Of the splits and selections that were not published."""
    trajectories_per_shard: Count = 90
    """Size of a shard; 90 trajectories are 990 images, about 100 MB."""
    max_rejected: Share = 0.1
    """Give up when more than this share of the images is missing or damaged."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    dry_run: bool = False
    """Only print what is there and what would be imported."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)
        if not (self.synthetic or self.distractors or self.real):
            raise InputError("Name one at least of --synthetic, --distractors and --real.")

    @property
    def folder(self) -> str:
        """Absolute path of the dataset."""
        return storage.absolute(self.out)

    def identity(self) -> dict[str, Any]:
        """The options that decide the rows, as they are read back from a manifest."""
        options = {name: value for name, value in to_json(self).items() if name not in _NO_ROWS}
        for name in ("synthetic", "distractors", "real"):
            options[name] = [storage.absolute(path) for path in options[name]]
        return options


_NO_ROWS = {"out", "max_rejected", "num_cpus", "dry_run", "watch"}
"""Options that change no row."""
