"""The search page and the REST interface behind it, as a FastAPI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.index.catalogue import Catalogue, Entry
from bridge.index.config import Rerank
from bridge.index.folder import IndexManifest
from bridge.index.searcher import TOP, Found, Query
from bridge.web.answers import Answers, Example, IndexAnswer, Problem, RequestLimits, answer
from bridge.web.guard import LOCAL_NAMES, Guard
from bridge.web.templates import render
from bridge.web.uploads import FORMATS, RETRY_AFTER, Limits, Uploads, media_type

STATIC = Path(__file__).parent / "static"
EXAMPLES = 6
SUGGESTIONS = 50


@dataclass(frozen=True)
class Searched:
    """Answers to the queries of a request, and how many requests were answered together."""

    found: list[Found]
    together: int


Search = Callable[[Sequence[Query]], Awaitable[Searched]]


class Unavailable(Exception):
    """No search can be answered now; the message says why, in a sentence without paths."""


class Overloaded(Unavailable):
    """More searches wait than can be answered in time."""

    def __init__(self) -> None:
        super().__init__("Too many searches are waiting: try again in a moment.")


def create_app(
    name: str,
    manifest: IndexManifest,
    catalogue: Catalogue,
    search: Search,
    uploads: Uploads,
    *,
    local: bool,
    rerank: Rerank | None = None,
) -> FastAPI:
    """The application.

    Args:
        name: of the index, for the page.
        manifest: of the index.
        catalogue: its images.
        search: answers queries; raises `Unavailable`.
        uploads: reads the pictures of requests.
        local: whether it is reached from this machine alone: then a request that names another
            host is refused, which keeps other sites from reading it through a browser.
        rerank: what `search` re-ranks by, to be told of.
    """
    app = FastAPI(
        title="Image search robust to motion blur",
        version=metadata.version("bridge-retrieval"),
        description="Finds the images of an index most like a picture, however blurred.",
        # The usual description pages load from another site.
        docs_url=None,
        redoc_url=None,
    )
    hosts = LOCAL_NAMES if local else ()
    app.add_middleware(Guard, hosts=hosts, timeout=uploads.timeout)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    version = storage.sha256_json([part.sha256 for part in manifest.searched_parts])[:12]
    app.include_router(_pages(app))
    app.include_router(_index_routes(name, manifest, catalogue, uploads.limits, version, rerank))
    app.include_router(_search_route(catalogue, search, uploads, version))
    app.include_router(_health(search))
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
    name: str,
    manifest: IndexManifest,
    catalogue: Catalogue,
    limits: Limits,
    version: str,
    rerank: Rerank | None,
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
        rerank=None if rerank is None else rerank.title,
        limits=RequestLimits(formats=list(FORMATS), **asdict(limits)),
        examples=[
            Example(
                image=f"api/examples/{number}?v={version}",
                object_id=example.object_id,
                blur_level=None if example.is_estimated else example.blur_level,
            )
            for number, example in enumerate(examples)
        ],
    )

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
        # Where it was is nobody's business.
        raise HTTPException(
            404, "The picture is gone: its dataset was moved or removed."
        ) from error
    caching = "private, max-age=31536000, immutable" if lasting else "no-cache"
    headers = {"Cache-Control": caching}
    return Response(data, media_type=media_type(data), headers=headers)


def _health(search: Search) -> APIRouter:
    router = APIRouter()
    picture = encode(np.zeros((8, 8, 3), np.uint8))

    @router.get("/healthz", responses={503: {"model": Problem}})
    async def health() -> dict[str, str]:
        """200 where a search is answered, which it tries; else 503, and why not."""
        await search([Query(picture, 1)])
        return {"status": "ok"}

    return router


def _search_route(
    catalogue: Catalogue, search: Search, uploads: Uploads, version: str
) -> APIRouter:
    router = APIRouter()
    most = uploads.limits.top
    results = Parameter(TOP, ge=1, le=most, description="results per picture")

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
        filters = tuple(sorted(blur_level or ())), tuple(sorted(objects or ()))
        async with uploads.of(request) as pictures:
            searched = await search([Query(picture.image, top, *filters) for picture in pictures])
        found = searched.found
        response.headers["X-Batch-Size"] = str(searched.together)
        if all(one.error for one in found):
            raise HTTPException(422, f"{pictures[0].name} is damaged: it cannot be read.")
        answers = zip(pictures, found, strict=True)
        return Answers(queries=[answer(picture.name, one, version) for picture, one in answers])

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
    408: {"model": Problem, "description": "The body did not come in time"},
    503: {"model": Problem, "description": "No search now; Retry-After tells when to try"},
}


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][1]}: {first['msg']}."}, 422)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _unavailable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(RETRY_AFTER)})
