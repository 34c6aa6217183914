"""Pictures out of a request, within limits: bounded before they are held, checked before decoded.

Every refusal is an `HTTPException` with one sentence: 408 too slow, 413 too large, 415 another
type, 422 no picture, 503 too much at once.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
RETRY_AFTER = 2
"""Seconds after which a refused request may be worth another try."""
_FULL = "Too many pictures are being sent: try again in a moment."
_SLOW = "The rest of the request did not come in time."
_DRAINED = 4
"""How many times the limit of a body is read and dropped, so that its sender hears why."""


@dataclass(frozen=True)
class Upload:
    """An encoded picture that is within the limits; `name` is that of its file, if it has one."""

    name: str
    image: bytes


class Uploads:
    """Reads pictures out of requests; those of all requests together hold bounded memory."""

    def __init__(self, limits: Limits, timeout: float, most_bytes: float) -> None:
        """Read them.

        Args:
            limits: of a request.
            timeout: seconds that the next piece of a body may take.
            most_bytes: of the pictures of all requests at one time.
        """
        self.limits, self.timeout = limits, timeout
        self._most_bytes, self._in_flight = most_bytes, 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[list[Upload]]:
        """The pictures of a request: parts with a file of a multipart form, or the body itself.

        They count as in flight until the block is left.

        Raises:
            HTTPException: 408, 413, 415, 422 or 503.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._in_flight + size > self._most_bytes:
                raise HTTPException(503, _FULL, {"Retry-After": str(RETRY_AFTER)})
            held += size
            self._in_flight += size

        try:
            yield await self._read(request, hold)
        finally:
            self._in_flight -= held

    async def _read(self, request: Request, hold: Callable[[int], None]) -> list[Upload]:
        limits = self.limits
        is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
        most = limits.images * limits.bytes + _ENVELOPE if is_form else limits.bytes
        error = (
            HTTPException(413, f"All pictures together exceed {limits.all_megabytes:g} MB.")
            if is_form
            else _too_large(limits)
        )
        body = _Body(request.receive, most, error, self.timeout, hold)
        bounded = Request(request.scope, body)
        if is_form:
            pictures = await _form_files(bounded, limits)
        else:
            whole = await bounded.body()
            pictures = [Upload("picture", whole)] if whole else []
        if not pictures:
            raise HTTPException(422, "The request has no picture.")
        for picture in pictures:
            check_picture(picture, limits)
        return pictures


async def _form_files(request: Request, limits: Limits) -> list[Upload]:
    async with request.form() as form:
        files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
        if len(files) > limits.images:
            raise HTTPException(413, f"At most {limits.images} pictures fit into a request.")
        for file in files:
            if (file.size or 0) > limits.bytes:
                raise _too_large(limits, file.filename)
        return [Upload(file.filename or "picture", await file.read()) for file in files]


class _Body:
    """Receives the body of a request piece by piece, within bounds."""

    def __init__(
        self,
        receive: Receive,
        most: int,
        error: HTTPException,
        timeout: float,
        hold: Callable[[int], None],
    ) -> None:
        """Raises `error` beyond `most` bytes; `hold` is told of each piece, and may refuse it."""
        self._receive, self._most, self._error = receive, most, error
        self._timeout, self._hold = timeout, hold
        self._read = 0

    async def __call__(self) -> Message:
        message = await self._next()
        if self._read > self._most:
            await self._drain(message)
            raise self._error
        try:
            self._hold(len(message.get("body", b"")))
        except HTTPException:
            await self._drain(message)
            raise
        return message

    async def _next(self) -> Message:
        try:
            message = await asyncio.wait_for(self._receive(), self._timeout)
        except TimeoutError:
            raise HTTPException(408, _SLOW, {"Connection": "close"}) from None
        self._read += len(message.get("body", b""))
        return message

    async def _drain(self, message: Message) -> None:
        """A connection that closes in the middle of an upload reads as a failure of the network."""
        while message.get("more_body") and self._read < _DRAINED * self._most:
            message = await self._next()


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
