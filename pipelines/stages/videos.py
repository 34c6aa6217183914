"""Making a DATASET of videos: they are found, averaged over Ray, or drawn on a contact sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.dataset.manifest import Manifest
from bridge.dataset.videos.clip import Exposed, expose
from bridge.dataset.videos.frames import UNUSABLE, UnusableVideo
from bridge.dataset.videos.layout import Clip
from bridge.dataset.videos.preview import video_sheet
from bridge.dataset.videos.shard import make_video_shard, plan_shards
from pipelines.stages import cluster
from pipelines.stages.dataset_request import CATALOGUE
from pipelines.stages.running import running
from pipelines.stages.shards import Losses, Shards, finish, make_missing
from pipelines.stages.video_options import ImportVideosConfig

KIND = "videos"


def make_dataset(
    config: ImportVideosConfig, found: Manifest | None, clips: Sequence[Clip], catalogue: str
) -> Manifest:
    """Make the dataset, or what is missing of it.

    Args:
        config: the options.
        found: what an earlier run left.
        clips: the trajectories, in their order.
        catalogue: hash of them.
    """
    with running("import-videos", config.folder, config.watch):
        cluster.connect(config.num_cpus)
        manifest = found
        if manifest is None:
            manifest = Manifest(KIND, config.identity() | {CATALOGUE: catalogue})
            manifest.save(config.folder)
        plan = plan_shards(clips, config.trajectories_per_shard)
        missing = [shard for shard in plan if shard.path not in manifest.shards]
        shards = Shards(
            missing,
            len(plan),
            config.images * len(clips),
            config.images * sum(len(shard.clips) for shard in missing),
            Losses(len(clips), config.max_rejected, "videos", UNUSABLE),
            images_per_input=config.images,
        )
        shared = config.averaging, config.folder
        manifest = make_missing(
            "import", config.folder, manifest, shards, make_video_shard, *shared
        )
        return finish(config.folder, manifest)


def preview(config: ImportVideosConfig, clips: Sequence[Clip], number: int) -> str:
    """Draw `number` trajectories on a contact sheet, of as many objects as there are.

    Returns the path of the sheet. Raises InputError where not one of the videos can be used.
    """
    storage.prepare_output(config.folder)
    drawn: list[tuple[Clip, Exposed]] = []
    unusable: list[str] = []
    with progress("preview", number, "trajectories") as counter:
        for clip in sorted(clips, key=lambda clip: clip.trajectory):
            if len(drawn) == number:
                break
            try:
                drawn.append((clip, expose(clip, config.averaging)))
                counter.advance()
            except UnusableVideo as error:
                unusable.append(f"{clip.name}: {error}")
    if not drawn:
        raise InputError(f"Not one video can be used, e.g. {unusable[0]}.")
    for line in unusable:
        print(f"left out: {line}")
    buffer = io.BytesIO()
    video_sheet(sorted(drawn, key=lambda pair: pair[0].name)).save(buffer, "PNG")
    path = storage.join(config.folder, "preview.png")
    storage.write_bytes(path, buffer.getvalue())
    return path
