"""The search service, live: every endpoint, limits, filters, batching, overload."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import ray.serve
from PIL import Image

from benchmarks.serving import load
from bridge.blur import blur_level
from bridge.common.errors import InputError
from bridge.common.images import ImageFormat, encode
from bridge.index.catalogue import Catalogue
from bridge.index.config import SuperGlobal
from bridge.index.folder import open_index_manifest
from bridge.index.searcher import Query, Searcher
from bridge.web.uploads import Limits
from pipelines import serve
from pipelines.serve import ServeConfig
from pipelines.stages.page import page, serving
from pipelines.stages.serve_deployments import SearchModel, search_model
from tests.ranking import ROUNDING, assert_nearest
from tests.serving import Client, Reply, free_port


@pytest.fixture(scope="module")
def index(searchable: Path) -> Path:
    return searchable / "index"


@pytest.fixture(scope="module")
def catalogue(index: Path) -> Catalogue:
    return Catalogue(str(index), open_index_manifest(str(index)))


@pytest.fixture(scope="module")
def address(index: Path) -> Iterator[str]:
    config = ServeConfig(
        index=str(index),
        port=free_port(),
        cpus_per_replica=0.5,
        limits=Limits(megabytes=0.5, megapixels=1, images=3, top=150),
    )
    with serve.service(config) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address)


def test_a_picture_finds_itself_and_is_described(
    client: Client, index: Path, catalogue: Catalogue
) -> None:
    picture = catalogue.entries([7])[0].picture()
    reply = client.search(picture, "?top=5")
    assert reply.status == 200
    (answer,) = reply.json["queries"]
    expected = Searcher(str(index)).search([picture], top=len(catalogue))[0]
    products = np.empty(len(catalogue))
    for hit in expected.results:
        products[hit.row] = hit.similarity
    found = [(result["row"], result["similarity"]) for result in answer["results"]]
    assert len(found) == 5
    assert_nearest(*map(list, zip(*found, strict=True)), products, ROUNDING)
    assert answer["results"][0]["row"] == 7 and answer["results"][0]["similarity"] > 0.999
    assert answer["results"][0]["image_id"] == catalogue.entries([7])[0].image_id
    assert answer["blur_severity"] == pytest.approx(expected.blur_severity, abs=ROUNDING)
    assert answer["blur_level"] == blur_level(answer["blur_severity"])
    assert answer["bbox"] == pytest.approx(expected.bbox, abs=ROUNDING)
    shown = client.get("/" + answer["results"][0]["image"])
    assert shown.status == 200 and shown.body == picture
    assert shown.headers["content-type"] == "image/jpeg"
    assert "immutable" in shown.headers["cache-control"]


def test_a_form_with_several_files_has_an_answer_for_each(
    client: Client, catalogue: Catalogue
) -> None:
    first, second = (entry.picture() for entry in catalogue.entries([3, 60]))
    files = [("a.jpg", first), ("torn.jpg", first[:-99]), ("b.jpg", second)]
    answers = client.search_files(files, "?top=1").json["queries"]
    assert [answer["name"] for answer in answers] == ["a.jpg", "torn.jpg", "b.jpg"]
    assert [len(answer["results"]) for answer in answers] == [1, 0, 1]
    assert [answers[i]["results"][0]["row"] for i in (0, 2)] == [3, 60]
    assert answers[0]["error"] is None and "truncated" in answers[1]["error"]


def test_results_are_filtered_by_level_and_object(client: Client, catalogue: Catalogue) -> None:
    picture = catalogue.entries([0])[0].picture()
    reply = client.search(picture, "?top=150&blur_level=2&blur_level=4")
    assert {r["blur_level"] for r in reply.json["queries"][0]["results"]} == {2, 4}
    reply = client.search(picture, "?top=150&object=shape2/101&object=shape1/001")
    found = {r["object_id"] for r in reply.json["queries"][0]["results"]}
    assert found == {"shape2/101", "shape1/001"}
    assert client.search(picture, "?blur_level=10").json["queries"][0]["results"] == []
    reply = client.search(picture, "?object=nothing")
    assert (reply.status, reply.detail) == (422, "The index has no object 'nothing'.")


def test_index_objects_and_examples_are_told(client: Client, catalogue: Catalogue) -> None:
    told = client.get("/api/index").json
    assert (told["images"], told["objects"]) == (len(catalogue), 7)
    assert told["blur_levels"] == [1, 2, 3, 4, 5, 6] and told["limits"]["top"] == 150
    assert told["rerank"] is None
    assert told["counts"]["distractor"] + told["counts"]["database"] == len(catalogue)
    example = client.get("/" + told["examples"][0]["image"])
    assert example.body == catalogue.examples(1)[0].picture()
    assert client.get("/api/objects?q=SHAPE1").json == ["shape1/001", "shape1/100"]
    assert len(client.get("/api/objects?limit=2").json) == 2
    assert client.get("/healthz").json == {"status": "ok"}
    for missing in (f"/api/images/{len(catalogue)}", "/api/images/-1", "/api/examples/99"):
        reply = client.get(missing)
        assert reply.status == 404 and "no" in reply.detail
    assert client.get("/api/images/one").status == 422


def test_lost_pictures_are_told_without_saying_where_they_were(
    client: Client, index: Path, catalogue: Catalogue
) -> None:
    data = Path(catalogue.entries([3])[0].shard).parent
    data.rename(data.with_name("moved"))
    try:
        reply = client.get("/api/images/3")
    finally:
        data.with_name("moved").rename(data)
    assert reply.status == 404 and "/" not in reply.detail


def test_pages_load_nothing_from_elsewhere(client: Client) -> None:
    for path in ("/", "/docs", "/static/app.js", "/static/style.css"):
        reply = client.get(path)
        assert reply.status == 200
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert b'src="http' not in reply.body and b'href="http' not in reply.body
    api = client.get("/openapi.json").json
    assert {"/api/search", "/api/index", "/api/images/{row}", "/healthz"} <= set(api["paths"])
    content = api["paths"]["/api/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"image/jpeg", "image/png", "image/webp", "multipart/form-data"}
    assert b"/api/search" in client.get("/docs").body


def test_head_is_answered_as_get_without_a_body(client: Client) -> None:
    for path in ("/", "/healthz", "/api/index", "/api/images/3", "/static/app.js", "/nowhere"):
        head, get = client.head(path), client.get(path)
        assert head.status == get.status and head.body == b"" != get.body
        assert head.headers["content-length"] == str(len(get.body))


def test_other_hosts_are_refused_on_a_loopback_address(client: Client) -> None:
    reply = client.get("/api/index", {"Host": "example.com"})
    assert reply.status == 400 and "this machine alone" in reply.detail
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert client.get("/api/index", {"Host": "localhost:1"}).status == 200


def _huge_png(side: int) -> bytes:
    """A few bytes that claim to be a picture of side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def _gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "GIF")
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (600, 600, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "query", "status", "detail"),
    [
        (b"", "", 422, "The request has no picture."),
        (b"only text", "", 415, "picture is not a JPEG, PNG or WebP picture."),
        (_gif(), "", 415, "picture is not a JPEG, PNG or WebP picture."),
        (encode(NOISE, "png"), "", 413, "The picture is larger than 0.5 MB."),
        (_huge_png(1001), "", 413, "picture has more than 1 million pixels."),
        (_huge_png(60_000), "", 413, "picture has more than 1 million pixels."),
        (b"\xff\xd8\xff torn", "", 422, "picture is damaged: it cannot be read."),
        (encode(NOISE[:50])[:900], "", 422, "picture is damaged: it cannot be read."),
        (encode(NOISE[:9]), "?top=151", 422, "top: Input should be less than or equal to 150."),
        (encode(NOISE[:9]), "?top=0", 422, "top: Input should be greater than or equal to 1."),
        (encode(NOISE[:9]), "?blur_level=x", 422, "blur_level: Input should be a valid integer"),
    ],
    ids=[
        "empty",
        "text",
        "gif",
        "bytes",
        "pixels",
        "bomb",
        "torn",
        "cut",
        "top",
        "no-top",
        "no-level",
    ],
)
def test_requests_beyond_the_limits_are_refused_in_a_sentence(
    client: Client, picture: bytes, query: str, status: int, detail: str
) -> None:
    reply = client.search(picture, query)
    assert (reply.status, reply.detail[: len(detail)]) == (status, detail)


def test_forms_beyond_the_limits_are_refused(client: Client) -> None:
    small = encode(NOISE[:9])
    reply = client.search_files([(f"{i}.jpg", small) for i in range(4)])
    assert (reply.status, reply.detail) == (413, "At most 3 pictures fit into a request.")
    reply = client.search_files([("a.jpg", small), ("big.png", encode(NOISE, "png"))])
    assert (reply.status, reply.detail) == (413, "big.png is larger than 0.5 MB.")
    reply = client.search_files([("big.png", b"\0" * 1_900_000)])
    assert (reply.status, reply.detail) == (413, "All pictures together exceed 1.5 MB.")
    reply = client.search_files([("a.jpg", small), ("notes.txt", b"only text")])
    assert (reply.status, reply.detail) == (415, "notes.txt is not a JPEG, PNG or WebP picture.")
    assert client.search_files([]).status in (400, 422)


def test_png_and_webp_are_searched_too(client: Client) -> None:
    kinds: tuple[ImageFormat, ...] = ("png", "webp")
    rows = [
        client.search(encode(NOISE[:90], kind), "?top=4", f"image/{kind}").json["queries"][0]
        for kind in kinds
    ]
    assert rows[0] == rows[1] and len(rows[0]["results"]) == 4


def test_many_at_once_get_what_each_would_get_alone(client: Client, catalogue: Catalogue) -> None:
    entries = catalogue.entries(range(0, 192, 3))

    def search(place: int) -> Reply:
        query = f"?top={1 + place % 5}" + ("&blur_level=1" if place % 2 else "")
        return client.search(entries[place].picture(), query)

    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(search, range(64)))
    assert max(int(reply.headers["x-batch-size"]) for reply in together) > 1
    for place, reply in enumerate(together):
        alone = search(place).json["queries"][0]["results"]
        found = reply.json["queries"][0]["results"]
        # The network rounds otherwise in batches of another size: the same similarities, of rows
        # that may change places where they are as similar. The picture itself is far before all.
        scores = [result["similarity"] for result in alone]
        assert [result["similarity"] for result in found] == pytest.approx(scores, abs=ROUNDING)
        if place % 2:
            assert {result["blur_level"] for result in found} == {1}
        else:
            assert found[0]["row"] == alone[0]["row"] == 3 * place


@pytest.mark.long
def test_64_clients_are_all_answered(address: str, catalogue: Catalogue) -> None:
    pictures = [entry.picture() for entry in catalogue.entries(range(0, 200, 10))]
    result = load(address, pictures, clients=64, seconds=4)
    assert result.failures == {} and result.requests >= 64


def test_too_many_requests_are_refused_and_the_others_answered(
    index: Path, client: Client, address: str, catalogue: Catalogue
) -> None:
    config = ServeConfig(index=str(index), batch_size=1, max_waiting=1, rerank="aqe")
    options = serve.service_options(config)
    busy = ray.serve.run(search_model(options, 0.5), name="busy", route_prefix=None)
    pictures = [entry.picture() for entry in catalogue.entries(range(48))]
    port = free_port()
    with (
        serving(page(options, busy), "127.0.0.1", port, timeout=30, drain=1),
        ThreadPoolExecutor(48) as pool,
    ):
        busy_client = Client(f"http://127.0.0.1:{port}/")
        replies = list(pool.map(busy_client.search, pictures))
        assert busy_client.get("/api/index").json["rerank"] == "alphaQE"
    ray.serve.delete("busy")
    statuses = {reply.status for reply in replies}
    assert statuses == {200, 503}
    for reply in replies:
        if reply.status == 503:
            assert int(reply.headers["retry-after"]) > 0 and "try again" in reply.detail
    assert client.get("/healthz").status == 200


def test_replicas_rerank_as_the_service_is_told(index: Path, catalogue: Catalogue) -> None:
    superglobal = SuperGlobal(nearest=5, beta=1)
    config = ServeConfig(index=str(index), rerank="superglobal", superglobal=superglobal)
    replica = SearchModel(serve.service_options(config), threads=1)
    picture = catalogue.entries([7])[0].picture()
    [found] = asyncio.run(replica.search([Query(picture, 50)])).found
    [expected] = Searcher(str(index), threads=1, rerank=superglobal).search([picture], 50)
    assert found == expected and found != Searcher(str(index)).search([picture], 50)[0]


def test_a_service_that_cannot_start_says_why(index: Path, address: str, tmp_path: Path) -> None:
    port = int(address.rsplit(":", 1)[1].strip("/"))
    for match, options in (
        (f"port {port} .* choose another", {"port": port}),
        ("service already runs", {"port": free_port()}),
        ("not an index", {"index": str(tmp_path)}),
    ):
        config = ServeConfig(**({"index": str(index)} | options))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=match), serve.service(config):
            pass


@pytest.mark.long
def test_the_command_serves_until_it_is_interrupted(index: Path, tmp_path: Path) -> None:
    root = Path(serve.__file__).parents[1]
    command = [sys.executable, "pipelines/serve.py", "--port", str(free_port()), "--index"]
    done = subprocess.run([*command, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr == f"error: {tmp_path} is not an index: it has no manifest.json.\n"
    with subprocess.Popen(
        [*command, str(index)],
        cwd=root,
        env=os.environ | {"RAY_ADDRESS": "local"},  # not the cluster of the other tests
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = next(text for text in process.stdout if text.startswith("The search page is at "))
        assert Client(line.split()[5]).get("/healthz").status == 200
        # Impatient people press Ctrl-C twice.
        for number in (signal.SIGINT, signal.SIGTERM) * 10:
            process.send_signal(number)
        process.wait(timeout=180)
        assert process.stdout.read() == "stopping\n"
    assert process.returncode == 130
