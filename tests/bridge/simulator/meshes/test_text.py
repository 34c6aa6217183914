from __future__ import annotations

import unicodedata

import pytest

from bridge.simulator.meshes.text import keys, plain_text, readable

LINES = "v 1 2\nusemtl a  b\nf 1 2 3\n"


@pytest.mark.parametrize(
    "data",
    [
        LINES.encode(),
        LINES.replace("\n", "\r\n").encode(),
        LINES.replace("\n", "\r").encode(),
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        LINES.encode("utf-16-le"),
        LINES.encode("utf-16-be"),
        b"\xfe\xff" + LINES.encode("utf-16-be"),
        b"  v\t1 2 \n\tusemtl a  b\t\n\t f 1 2 3\n",
        b"v 1 2 # here\nusemtl a  b\t#there\nf 1 \\\n2 \\ \n3\n",
    ],
)
def test_every_form_of_a_text_is_read_as_one(data: bytes) -> None:
    words = [line.split(" ") for line in plain_text(data).split("\n")]
    assert [[w for w in line if w] for line in words] == [
        ["v", "1", "2"],
        ["usemtl", "a", "b"],
        ["f", "1", "2", "3"],
        [],
    ]
    assert all(line == line.strip() for line in plain_text(data).split("\n"))


def test_a_number_sign_within_a_word_is_no_comment() -> None:
    text = b"# C:\\models\\\nmap_Kd wood#2.png\n#end\nmap_Kd a.png # b#c\n# last"
    assert plain_text(text) == "\nmap_Kd wood#2.png\n\nmap_Kd a.png\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wood", "wood"),
        ("my  mat", "my mat"),
        (unicodedata.normalize("NFD", "Café"), "café"),
        (b"Mat\xe9riau".decode(errors="surrogateescape"), "Matériau"),
        ("木头".encode("gbk").decode(errors="surrogateescape"), "木头"),
    ],
)
def test_names_that_mean_the_same_share_a_key(one: str, other: str) -> None:
    assert keys(one) & keys(other)
    assert not keys(one) & keys("else")
    assert readable(one).isprintable()
