"""The search page and the REST interface behind it, as a FastAPI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.index.catalogue import Catalogue, Entry
from bridge.index.folder import IndexManifest
from bridge.index.searcher import TOP, Found, Query
from bridge.web.answers import Answers, Example, IndexAnswer, Problem, RequestLimits, answer
from bridge.web.templates import render
from bridge.web.uploads import FORMATS, Limits, media_type, read_uploads

STATIC = Path(__file__).parent / "static"
RETRY_AFTER = 2
"""Seconds after which a refused request may be worth another try."""
EXAMPLES = 6
SUGGESTIONS = 50

_LOCAL_NAMES = ["localhost", "127.0.0.1", "::1", "[::1]"]
_SECURITY_HEADERS = {
    # The page loads from its own server only, and runs no script of a page around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class Searched:
    """Answers to the queries of a request, and how many requests were answered together."""

    found: list[Found]
    together: int


Search = Callable[[Sequence[Query]], Awaitable[Searched]]


class Overloaded(Exception):
    """More searches wait than can be answered in time."""


def create_app(
    name: str,
    manifest: IndexManifest,
    catalogue: Catalogue,
    search: Search,
    limits: Limits,
    *,
    local: bool,
) -> FastAPI:
    """The application.

    Args:
        name: of the index, for the page.
        manifest: of the index.
        catalogue: its images.
        search: answers queries; raises `Overloaded` or InputError.
        limits: of a request.
        local: whether it is reached from this machine alone: then a request that names another
            host is refused, which keeps other sites from reading it through a browser.
    """
    app = FastAPI(
        title="Image search robust to motion blur",
        version=metadata.version("bridge-retrieval"),
        description="Finds the images of an index most like a picture, however blurred.",
        # The usual description pages load from another site.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(_SecurityHeaders)
    if local:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOCAL_NAMES)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _refused)
    app.add_exception_handler(Overloaded, _overloaded)
    version = storage.sha256_json([part.sha256 for part in manifest.searched_parts])[:12]
    app.include_router(_pages(app))
    app.include_router(_index_routes(name, manifest, catalogue, limits, version))
    app.include_router(_search_route(catalogue, search, limits, version))
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _pages(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @router.get("/docs")
    async def reference(request: Request) -> HTMLResponse:
        base = request.base_url
        return HTMLResponse(render("reference.html", api=app.openapi(), base=base))

    @router.get("/favicon.ico")
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg")

    return router


def _index_routes(
    name: str, manifest: IndexManifest, catalogue: Catalogue, limits: Limits, version: str
) -> APIRouter:
    router = APIRouter()
    examples = catalogue.examples(EXAMPLES)
    described = IndexAnswer(
        name=name,
        model_hash=manifest.model_hash,
        images=len(catalogue),
        objects=len(catalogue.objects()),
        counts=dict(manifest.counts),
        blur_levels=catalogue.levels,
        search_type=manifest.search["layout"]["type"],
        limits=RequestLimits(formats=list(FORMATS), **asdict(limits)),
        examples=[
            Example(
                image=f"api/examples/{number}?v={version}",
                object_id=example.object_id,
                blur_level=example.blur_level,
            )
            for number, example in enumerate(examples)
        ],
    )

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        """Answers as soon as searches are answered."""
        return {"status": "ok"}

    @router.get("/api/index")
    async def index() -> IndexAnswer:
        """What the index is, and the limits of a request."""
        return described

    @router.get("/api/objects")
    async def objects(
        q: Annotated[str, Parameter(description="part of a name")] = "",
        limit: Annotated[int, Parameter(ge=1, le=1000)] = SUGGESTIONS,
    ) -> list[str]:
        """Objects of the index whose name contains a text, in alphabetical order."""
        return catalogue.objects(q, limit)

    @router.get("/api/images/{row}", **_PICTURE)
    def image(row: int, v: str | None = None) -> Response:
        """The picture of a row of the index; `v` is its version, as in the addresses of results."""
        if not 0 <= row < len(catalogue):
            raise HTTPException(404, f"The index has no image {row}.")
        return _picture(catalogue.entries([row])[0], lasting=v == version)

    @router.get("/api/examples/{number}", **_PICTURE)
    def example(number: int, v: str | None = None) -> Response:
        """The picture of an example query; `v` as for the images."""
        if not 0 <= number < len(examples):
            raise HTTPException(404, f"There is no example {number}.")
        return _picture(examples[number], lasting=v == version)

    return router


_PICTURE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"content": {f"image/{kind.lower()}": {} for kind in FORMATS}},
        404: {"model": Problem},
    },
}


def _picture(entry: Entry, *, lasting: bool) -> Response:
    """`lasting` where the address names the index's version: what is there never changes."""
    try:
        data = entry.picture()
    except InputError as error:
        raise HTTPException(404, str(error)) from error
    caching = "private, max-age=31536000, immutable" if lasting else "no-cache"
    headers = {"Cache-Control": caching}
    return Response(data, media_type=media_type(data), headers=headers)


def _search_route(catalogue: Catalogue, search: Search, limits: Limits, version: str) -> APIRouter:
    router = APIRouter()
    results = Parameter(TOP, ge=1, le=limits.top, description="results per picture")

    @router.post("/api/search", openapi_extra=_BODY, responses=_PROBLEMS)
    async def find(
        request: Request,
        response: Response,
        top: int = results,
        blur_level: Annotated[
            list[int] | None, Parameter(description="only images of these levels")
        ] = None,
        objects: Annotated[
            list[str] | None, Parameter(alias="object", description="only images of these objects")
        ] = None,
    ) -> Answers:
        """The images most like each picture of the request.

        A picture among several that cannot be decoded has its `error` in the answer.
        """
        catalogue.check_objects(objects or ())
        uploads = await read_uploads(request, limits)
        filters = tuple(sorted(blur_level or ())), tuple(sorted(objects or ()))
        searched = await search([Query(upload.image, top, *filters) for upload in uploads])
        found = searched.found
        response.headers["X-Batch-Size"] = str(searched.together)
        if all(one.error for one in found):
            raise HTTPException(422, f"{uploads[0].name} is damaged: it cannot be read.")
        answers = zip(uploads, found, strict=True)
        return Answers(queries=[answer(upload.name, one, version) for upload, one in answers])

    return router


_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {f"image/{kind.lower()}": {"schema": _FILE} for kind in FORMATS}
        | {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": _FILE}},
                }
            }
        },
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "Too many bytes, pixels or pictures"},
    415: {"model": Problem, "description": "Not a JPEG, PNG or WebP picture"},
    422: {"model": Problem, "description": "Damaged or no picture, or a wrong parameter"},
    503: {"model": Problem, "description": "Too many searches; Retry-After tells when to try"},
}


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][1]}: {first['msg']}."}, 422)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _overloaded(_: Request, __: Exception) -> Response:
    message = "Too many searches are waiting: try again in a moment."
    return JSONResponse({"detail": message}, 503, {"Retry-After": str(RETRY_AFTER)})


class _SecurityHeaders:
    """Adds the headers that keep the page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
