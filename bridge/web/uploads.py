"""Pictures out of a request, within limits: bounded before they are held, checked before decoded.

Every refusal is an `HTTPException` with one sentence: 413 too large, 415 another type, 422 no
picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from fastapi import HTTPException, Request
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive

from bridge.web.limits import Limits

FORMATS = ("JPEG", "PNG", "WEBP")
_STARTS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_ENVELOPE = 64_000
"""Bytes of a multipart body around the pictures."""
_DRAINED = 4
"""How many times the limit of a body is read and dropped, so that its sender hears why."""


@dataclass(frozen=True)
class Upload:
    """An encoded picture that is within the limits; `name` is that of its file, if it has one."""

    name: str
    image: bytes


async def read_uploads(request: Request, limits: Limits) -> list[Upload]:
    """The pictures of a request: parts with a file of a multipart form, or the body itself.

    Raises:
        HTTPException: 413, 415 or 422.
    """
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        uploads = await _form_files(request, limits)
    else:
        body = await _bounded(request, limits.bytes, _too_large(limits)).body()
        uploads = [Upload("picture", body)] if body else []
    if not uploads:
        raise HTTPException(422, "The request has no picture.")
    for upload in uploads:
        check_picture(upload, limits)
    return uploads


async def _form_files(request: Request, limits: Limits) -> list[Upload]:
    too_large = HTTPException(413, f"All pictures together exceed {limits.all_megabytes:g} MB.")
    bounded = _bounded(request, limits.images * limits.bytes + _ENVELOPE, too_large)
    async with bounded.form() as form:
        files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
        if len(files) > limits.images:
            raise HTTPException(413, f"At most {limits.images} pictures fit into a request.")
        for file in files:
            if (file.size or 0) > limits.bytes:
                raise _too_large(limits, file.filename)
        return [Upload(file.filename or "picture", await file.read()) for file in files]


def _bounded(request: Request, most: int, error: HTTPException) -> Request:
    """The request, with a body that raises `error` beyond `most` bytes."""
    return Request(request.scope, _BoundedBody(request.receive, most, error))


class _BoundedBody:
    """Receives the body of a request; raises `error` where it is longer than `most` bytes."""

    def __init__(self, receive: Receive, most: int, error: HTTPException) -> None:
        self._receive, self._most, self._error = receive, most, error
        self._read = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            await self._drain(message)
            raise self._error
        return message

    async def _drain(self, message: Message) -> None:
        """A connection that closes in the middle of an upload reads as a failure of the network."""
        while message.get("more_body") and self._read < _DRAINED * self._most:
            message = await self._receive()
            self._read += len(message.get("body", b""))


def check_picture(upload: Upload, limits: Limits) -> None:
    """Check type and size of a picture by its content, without decoding it.

    Raises:
        HTTPException: 413 too many bytes or pixels, 415 not JPEG, PNG or WebP.
    """
    if len(upload.image) > limits.bytes:
        raise _too_large(limits, upload.name)
    if media_type(upload.image) is None:
        raise HTTPException(415, f"{upload.name} is not a JPEG, PNG or WebP picture.")
    try:
        with Image.open(io.BytesIO(upload.image), formats=FORMATS) as picture:
            pixels = picture.width * picture.height
    except Image.DecompressionBombError:
        raise _too_many_pixels(upload, limits) from None
    except Exception:
        # Pillow's parsers raise whatever they run into; decoding will tell what is the matter.
        return
    if pixels > limits.pixels:
        raise _too_many_pixels(upload, limits)


def media_type(image: bytes) -> str | None:
    """The type that an encoded picture's first bytes tell; None where it is no known one."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _STARTS.items() if image.startswith(start)), None)


def _too_large(limits: Limits, name: str | None = None) -> HTTPException:
    what = name or "The picture"
    return HTTPException(413, f"{what} is larger than {limits.megabytes:g} MB.")


def _too_many_pixels(upload: Upload, limits: Limits) -> HTTPException:
    message = f"{upload.name} has more than {limits.megapixels:g} million pixels."
    return HTTPException(413, message)
