"""Make a DATASET of high-speed videos: consecutive frames averaged into blurred images.

    python pipelines/import_videos.py --videos VIDEOS                  # <object>/<trajectory>.mp4
    python pipelines/import_videos.py --videos VIDEOS --preview 6      # look at it first
    python pipelines/import_videos.py --videos TBD --layout fmo --out data/tbd
    python pipelines/import_videos.py --videos VIDEOS --labels levels.csv

Images are the means of 1 to 200 frames around the middle of a video, in linear light, of split
`real`. What moves before a still background gives box, blur severity and a proposed blur level.
Run the same command again after an interruption: finished shards are kept, and the result is the
same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from pipelines.stages.video_options import ImportVideosConfig

# Options are read, and mistakes in them told, before what takes seconds to import is imported.
if TYPE_CHECKING:
    from bridge.dataset.manifest import Manifest
    from bridge.dataset.videos.layout import Clip


def run(config: ImportVideosConfig) -> Manifest:
    """Make the dataset, or what is missing of it."""
    from pipelines.stages.dataset_request import CATALOGUE, earlier_manifest, summary

    manifest = earlier_manifest(config.folder, config.identity())
    if manifest is not None and manifest.complete:
        print(f"{shown(config.folder)} is complete: {summary(manifest)}.")
        return manifest
    clips = find_clips(config)
    catalogue = storage.sha256_json([_known(clip) for clip in clips])
    if manifest is not None and manifest.config.get(CATALOGUE) != catalogue:
        raise InputError(
            f"The videos or their labels have changed since {config.folder} was begun."
        )
    from pipelines.stages.videos import make_dataset

    manifest = make_dataset(config, manifest, clips, catalogue)
    print(f"{config.folder}: {summary(manifest)}.")
    return manifest


def find_clips(config: ImportVideosConfig) -> tuple[Clip, ...]:
    """The trajectories that the options name; tells what was passed over.

    Raises:
        InputError: there are none, PyAV is not installed, a clean plate is not there, or as
            `read_notes` does.
    """
    from bridge.dataset.videos.frames import pyav
    from bridge.dataset.videos.layout import find_fmo, find_folders, with_notes
    from bridge.dataset.videos.notes import read_notes

    root = storage.absolute(config.videos)
    if storage.is_uri(root):
        raise InputError("`videos` must be on a disk that every node sees, not on an object store.")
    if not os.path.isdir(root):
        raise InputError(f"{shown(config.videos)} is no folder.")
    if config.layout == "folders":
        pyav()
    found = find_folders(root) if config.layout == "folders" else find_fmo(root)
    clips = found.clips
    if config.labels is not None:
        clips = with_notes(clips, read_notes(config.labels), config.labels)
    bare = next((clip.name for clip in clips if clip.plate is None), None)
    if config.truth == "plate" and bare is not None:
        raise InputError(
            f"There is no clean plate for {shown(bare)}: put background.png beside it, or choose "
            "another --truth."
        )
    if found.passed_over:
        print(f"note: {shown(config.videos)}: passed over: {found.passed_over}.")
    return clips


def _known(clip: Clip) -> list[object]:
    """By what a later change of a video, its plate or its labels is noticed."""
    plate = os.path.getsize(clip.plate) if clip.plate else None
    note = [clip.note.centre, clip.note.level, clip.note.levels]
    return [clip.name, clip.trajectory, clip.size, plate, note]


def preview(config: ImportVideosConfig, number: int) -> str:
    """Draw `number` trajectories on a contact sheet; makes no dataset."""
    clips = find_clips(config)
    from pipelines.stages import videos

    path = videos.preview(config, clips, number)
    print(path)
    return path


def command(config: ImportVideosConfig) -> None:
    """Do what the options ask for."""
    if config.preview is not None:
        preview(config, config.preview)
    else:
        run(config)


def main() -> None:
    """The command."""
    cli.main(command, ImportVideosConfig, description=__doc__)


if __name__ == "__main__":
    main()
