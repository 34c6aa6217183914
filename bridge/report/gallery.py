"""Retrieval galleries: a query and its best results with right and wrong marked (paper, Fig. 4)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bridge.errors import InputError
from bridge.report.templates import render

_MIME_BY_SIGNATURE = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF": "webp"}


@dataclass(frozen=True)
class Tile:
    """One picture of a gallery: an encoded JPEG, PNG or WebP image and what is said about it.

    `correct` is None where there is no truth (a query, an unlabelled image); `blur_level` and
    `similarity` (inner product of the descriptors) are left out of the page where they are None.
    """

    image_bytes: bytes
    blur_level: int | None
    title: str
    correct: bool | None = None
    similarity: float | None = None

    @property
    def data_uri(self) -> str:
        """The image as text for a page without other files. InputError for other formats."""
        for signature, subtype in _MIME_BY_SIGNATURE.items():
            if self.image_bytes.startswith(signature):
                return f"data:image/{subtype};base64,{base64.b64encode(self.image_bytes).decode()}"
        raise InputError(f"The image of {self.title!r} is not JPEG, PNG or WebP.")

    @property
    def verdict(self) -> str:
        """correct | wrong | unknown."""
        return {True: "correct", False: "wrong", None: "unknown"}[self.correct]


@dataclass(frozen=True)
class Gallery:
    """A query and its results, most similar first."""

    query: Tile
    results: tuple[Tile, ...]


def gallery_html(galleries: Sequence[Gallery]) -> Markup:
    """The galleries as HTML, images inline; the page around brings the style sheet."""
    return render("gallery.html", galleries=galleries)
