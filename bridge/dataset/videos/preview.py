"""A contact sheet of clips, as in the paper's Fig. 3: a row for each."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from bridge.common.contact_sheet import Cell, Row, contact_sheet
from bridge.dataset.videos.clip import Exposed, Exposure
from bridge.dataset.videos.layout import Clip


def video_sheet(clips: Sequence[tuple[Clip, Exposed]]) -> Image.Image:
    """One picture of the images of some clips, one at least; a column is an exposure.

    Below each image stand its blur level and severity, and the motion from frame to frame, with an
    exclamation mark where it is steppy.
    """
    columns = sorted({image.frames for _, exposed in clips for image in exposed.images})
    headings = ["1 frame" if frames == 1 else f"{frames} frames" for frames in columns]
    return contact_sheet([_row(clip, exposed, columns) for clip, exposed in clips], headings)


def _row(clip: Clip, exposed: Exposed, columns: Sequence[int]) -> Row:
    unsteady = "" if exposed.is_steady else "   what is behind does not stand still"
    title = f"{clip.name}   {clip.object_id}   trajectory {clip.trajectory}{unsteady}"
    cells = {one.frames: Cell(one.image, one.bbox, _caption(one)) for one in exposed.images}
    return Row(title, [cells.get(frames) for frames in columns])


def _caption(image: Exposure) -> str:
    parts = [f"BL {image.blur_level}"] if image.blur_level is not None else []
    if image.blur_severity is not None:
        parts.append(f"BS {image.blur_severity:.2f}")
    if image.motion is not None and image.frames > 1:
        parts.append(f"{image.motion.per_frame:.1f} px{' !' if image.is_steppy else ''}")
    return "   ".join(parts)
