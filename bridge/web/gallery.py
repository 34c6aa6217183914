"""What was found for many pictures, as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.index.catalogue import Box, Entry
from bridge.index.searcher import Found, Hit
from bridge.web.app import STATIC
from bridge.web.templates import render
from bridge.web.uploads import media_type

_SIDE = 480
"""Pixels that a picture on the page has along each side at most."""


@dataclass(frozen=True)
class Row:
    """A picture that was searched for: its name, itself (None where unreadable), and its results.

    The pictures are addresses that hold them whole.
    """

    name: str
    picture: str | None
    found: Found
    hits: tuple[tuple[Hit, str | None], ...]


def gallery_row(name: str, image: bytes, found: Found) -> Row:
    """Bring a picture and those that were found onto the page; lost ones are left out."""
    hits = tuple((hit, _stored(hit.entry)) for hit in found.results)
    return Row(name, None if found.error else _small(image), found, hits)


def gallery_page(rows: Sequence[Row], index: str) -> str:
    """The page; `index` is the name of what was searched."""
    style = (STATIC / "style.css").read_text()
    return render("gallery.html", rows=rows, index=index, style=style, outline=outline)


def outline(box: Box) -> str:
    """A box as CSS, cut at the edges of its picture."""
    cx, cy, w, h = box
    left, top = max(0.0, cx - w / 2), max(0.0, cy - h / 2)
    right, bottom = min(1.0, cx + w / 2), min(1.0, cy + h / 2)
    sides = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return "; ".join(f"{name}: {100 * value:.2f}%" for name, value in sides.items())


def _stored(entry: Entry) -> str | None:
    try:
        return _small(entry.picture())
    except InputError:
        return None


def _small(image: bytes) -> str:
    """A picture as a `data:` address, made smaller where it is large or of a rare type."""
    kind = media_type(image)
    with Image.open(io.BytesIO(image)) as picture:
        large = max(picture.size) > _SIDE
    if kind is None or large:
        small = Image.fromarray(decode(image, at_least=(_SIDE, _SIDE)))
        small.thumbnail((_SIDE, _SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=85)
        image, kind = buffer.getvalue(), "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"
