"""Retrieval galleries: a query and its best results with right and wrong marked (paper, Fig. 4)."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from markupsafe import Markup
from PIL import Image

from bridge.blur import blur_level
from bridge.common.errors import InputError
from bridge.common.images import UnreadableImage, decode
from bridge.report.templates import render

RANDOM, BEST, WORST = "Random queries", "Best queries", "Worst queries"
HARDEST_DISTRACTORS = "Hardest distractors"

EXPLANATIONS: Mapping[str, str] = MappingProxyType(
    {
        RANDOM: "Drawn at random, the same number of each blur level, whatever was retrieved.",
        BEST: "The highest average precisions: the method at its best, which is not typical.",
        WORST: "The lowest average precisions: the method at its worst, which is not typical.",
        HARDEST_DISTRACTORS: "Of a random sample of queries, those that a distractor comes "
        "closest to.",
    }
)
"""How the galleries of the known groups were chosen."""

Box = tuple[float, float, float, float]

_MIME_BY_SIGNATURE = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF": "webp"}
_KEPT_BYTES = 8192
_THUMBNAIL = 224
_QUALITY = 70


@dataclass(frozen=True)
class Tile:
    """One picture of a gallery: an encoded image and what is said about it.

    `correct` is None where there is no truth (a query, an unlabelled image). `similarity` is the
    inner product of the descriptors. `box` is the true one, `predicted_box` the model's, both
    (cx, cy, w, h) in units of the image size; `predicted_blur_severity` in 0..1 is the model's.
    What is None is left out of the page.
    """

    image_bytes: bytes
    blur_level: int | None
    title: str
    correct: bool | None = None
    similarity: float | None = None
    box: Box | None = None
    predicted_box: Box | None = None
    predicted_blur_severity: float | None = None

    @property
    def data_uri(self) -> str:
        """The image as text for a page without other files, made smaller where it is large.

        Raises InputError for what is no picture.
        """
        for signature, subtype in _MIME_BY_SIGNATURE.items():
            if self.image_bytes.startswith(signature) and len(self.image_bytes) <= _KEPT_BYTES:
                return _uri(subtype, self.image_bytes)
        try:
            picture = Image.fromarray(
                decode(self.image_bytes, at_least=(2 * _THUMBNAIL, 2 * _THUMBNAIL))
            )
        except UnreadableImage as error:
            raise InputError(f"The image of {self.title!r} cannot be read: {error}.") from error
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=_QUALITY)
        return _uri("webp", buffer.getvalue())

    @property
    def verdict(self) -> str:
        """correct | wrong | unknown."""
        return {True: "correct", False: "wrong", None: "unknown"}[self.correct]

    @property
    def predicted_blur_level(self) -> int | None:
        """The level 1..10 of the predicted blur severity (Eq. 6)."""
        severity = self.predicted_blur_severity
        return None if severity is None else blur_level(severity)

    @property
    def boxes(self) -> tuple[tuple[str, Box], ...]:
        """The known boxes by what they are (`true`, `predicted`), in percent: left, top, w, h."""
        known = (("true", self.box), ("predicted", self.predicted_box))
        return tuple((name, _css_box(box)) for name, box in known if box is not None)


@dataclass(frozen=True)
class Gallery:
    """A query and its results, most similar first; galleries of a group follow one another."""

    query: Tile
    results: tuple[Tile, ...]
    group: str = ""


@dataclass(frozen=True)
class _Group:
    name: str
    explanation: str
    galleries: tuple[Gallery, ...]


def gallery_html(galleries: Sequence[Gallery]) -> Markup:
    """The galleries as HTML, images inline; the page around brings the style sheet.

    Groups come under headings in the order of their first gallery, those of `EXPLANATIONS` with a
    line on how they were chosen. Raises InputError for what is no picture.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(g.group for g in galleries))}
    grouped = groupby(sorted(galleries, key=lambda g: order[g.group]), lambda g: g.group)
    groups = [_Group(n, EXPLANATIONS.get(n, ""), tuple(members)) for n, members in grouped]
    return render("gallery.html", groups=groups)


def _uri(subtype: str, data: bytes) -> str:
    return f"data:image/{subtype};base64,{base64.b64encode(data).decode()}"


def _css_box(box: Box) -> Box:
    cx, cy, width, height = box
    return 100 * (cx - width / 2), 100 * (cy - height / 2), 100 * width, 100 * height
