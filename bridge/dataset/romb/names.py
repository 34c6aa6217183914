"""What the published files are called, and what their names say.

    <root>/<category>/<model>/<trajectory>/<window>_rendered.png     a picture
    <root>/<category>/<model>/<trajectory>/<window>_blurred.png      its object alone, with alpha
    <root>/blur_level_<level>/<object>_<trajectory>_<image>.png      a real photo
    <root>/stats/...                                                 labels and selections

Statistics name pictures by paths that are absolute, relative, or of a folder that had another name
once: only their last parts count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.blur import NUM_WINDOWS
from bridge.common.errors import InputError

WINDOWS = NUM_WINDOWS + 1
FILES = tuple(f"{k}_{kind}.png" for kind in ("rendered", "blurred") for k in range(WINDOWS))
"""Of a trajectory: first the pictures, then what their labels can be worked out from."""
SLOTS = {name: slot for slot, name in enumerate(FILES)}

TRAJECTORY = r"[0-9]{3}|[1-9][0-9]{3,5}"
_PATH = (
    r"(?:^|[/\\])(?P<category>[^/\\]+)[/\\](?P<model>[^/\\]+)[/\\]"
    rf"(?P<trajectory>{TRAJECTORY})[/\\](?P<window>[0-9]|10)_(?:rendered|blurred)\.png$"
)
_FOLDER = r"(?:^|[/\\])(?P<category>[^/\\]+)[/\\](?P<model>[^/\\]+)[/\\]?$"
_PHOTO = (
    r"(?:^|[/\\])blur_level_(?P<level>[1-9]|10)[/\\]"
    r"(?P<object>[0-9]{3})_(?P<trajectory>[0-9]{3})_(?P<image>[0-9]{3,6})\.png$"
)


@dataclass(frozen=True)
class Pictures:
    """N pictures that statistics name.

    Attributes:
        object_id: text [N], `<category>/<model>`.
        image_id: text [N], `<category>/<model>/<trajectory>/<window>`.
        trajectory, window: int32 [N].
    """

    object_id: pa.Array
    image_id: pa.Array
    trajectory: np.ndarray
    window: np.ndarray

    def __len__(self) -> int:
        return len(self.object_id)


def pictures_of(paths: pa.Array, source: str) -> Pictures:
    """What paths name; InputError, with their `source`, where one is of something else."""
    parts = _parts(paths, _PATH, source)
    category, model, trajectory, window = parts.flatten()
    object_id = pc.binary_join_element_wise(category, model, "/")
    return Pictures(
        object_id,
        pc.binary_join_element_wise(object_id, trajectory, window, "/"),
        trajectory.cast(pa.int32()).to_numpy(),
        window.cast(pa.int32()).to_numpy(),
    )


def objects_of(folders: pa.Array, source: str) -> list[str]:
    """`<category>/<model>` of folders of objects; InputError as in `pictures_of`."""
    category, model = _parts(folders, _FOLDER, source).flatten()
    return list(pc.binary_join_element_wise(category, model, "/").to_pylist())


def photos_of(paths: pa.Array, source: str) -> pa.StructArray:
    """Texts level, object, trajectory and image of real photos; InputError as in `pictures_of`."""
    return _parts(paths, _PHOTO, source)


def _parts(paths: pa.Array, pattern: str, source: str) -> pa.StructArray:
    parts = pc.extract_regex(paths, pattern)
    if parts.null_count:
        wrong = paths.filter(pc.is_null(parts))
        raise InputError(
            f"{source} names {len(wrong):,} paths that are not of the published layout, "
            f"e.g. {str(wrong[0])[:200]!r}."
        )
    return parts
