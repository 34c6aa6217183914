"""What options say of pictures: formats and limits; nothing here needs the libraries for them."""

from __future__ import annotations

from typing import Literal

ImageFormat = Literal["jpeg", "png", "webp"]

PhotoLayout = Literal["auto", "objects", "categories", "flat"]
"""What the folders of photos stand for; `bridge.dataset.photo_listing` says how."""

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded."""
