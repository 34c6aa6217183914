"""What options say of pictures: formats and limits; nothing here needs the libraries for them."""

from __future__ import annotations

from typing import Literal

ImageFormat = Literal["jpeg", "png", "webp"]

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded."""
