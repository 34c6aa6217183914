"""The JSON of the REST interface; FastAPI makes its OpenAPI description from these."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from bridge.index.catalogue import Box
from bridge.index.searcher import Found, Hit

BoxField = Annotated[
    Box | None,
    Field(description="cx, cy, width, height in units of the image size; null where unknown"),
]
Severity = Annotated[
    float | None, Field(description="blur severity, 0 (sharp) to 1; null where unknown")
]


class Result(BaseModel):
    """An image of the index."""

    rank: int
    similarity: Annotated[float, Field(description="cosine with the query, -1 to 1")]
    row: Annotated[int, Field(description="its number in the index")]
    object_id: Annotated[str | None, Field(description="null where unlabelled")]
    image_id: str
    blur_level: Annotated[int | None, Field(description="1 (sharp) to 10; null where unknown")]
    is_estimated: Annotated[bool, Field(description="whether the network says the blur level")]
    blur_severity: Severity
    bbox: BoxField
    distractor: bool
    image: Annotated[str, Field(description="where its picture is, relative to the page")]


class Answer(BaseModel):
    """What was found for a picture, and what the network says of the picture."""

    name: str
    blur_severity: Severity
    blur_level: Annotated[int | None, Field(description="1 (sharp) to 10; null where unknown")]
    bbox: BoxField
    error: Annotated[str | None, Field(description="why the picture could not be read")]
    results: list[Result]


class Answers(BaseModel):
    """One answer for each picture of the request, in their order."""

    queries: list[Answer]


class Example(BaseModel):
    """A query of the index to try the search with."""

    image: str
    object_id: str | None
    blur_level: int | None


class RequestLimits(BaseModel):
    """What a request may ask for."""

    megabytes: float
    megapixels: float
    images: int
    top: int
    formats: list[str]


class IndexAnswer(BaseModel):
    """What the index is."""

    name: str
    model_hash: str
    images: int
    objects: int
    counts: dict[str, int]
    blur_levels: list[int]
    search_type: str
    rerank: Annotated[
        str | None, Field(description="what re-ranks results, which is not by similarity then")
    ]
    limits: RequestLimits
    examples: list[Example]


class Problem(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: str


def answer(name: str, found: Found, version: str) -> Answer:
    """The JSON of one answer; `version` makes the addresses of pictures those of this index."""
    return Answer(
        name=name,
        blur_severity=found.blur_severity,
        blur_level=found.blur_level,
        bbox=found.bbox,
        error=found.error,
        results=[_result(hit, version) for hit in found.results],
    )


def _result(hit: Hit, version: str) -> Result:
    entry = hit.entry
    return Result(
        rank=hit.rank,
        similarity=hit.similarity,
        row=hit.row,
        object_id=entry.object_id,
        image_id=entry.image_id,
        blur_level=entry.blur_level,
        is_estimated=entry.is_estimated,
        blur_severity=entry.blur_severity,
        bbox=entry.bbox,
        distractor=entry.is_distractor,
        image=f"api/images/{hit.row}?v={version}",
    )
