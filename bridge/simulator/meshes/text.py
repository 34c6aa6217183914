"""Text files as people write them: of any encoding, line ends, indentation and comments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from bridge.common.files import shown

_ENCODINGS = ("gb18030", "shift_jis", "cp1252", "latin-1")
"""Of names that may not be UTF-8. Which one is meant is seen by what there is of that name."""

_CONTINUED = re.compile(r"\\ *\n")
_INDENTED = re.compile(r"\n +")
_TRAILING = re.compile(r" +\n")


def plain_text(data: bytes) -> str:
    """The text of a file in one form, for parsers that know no other.

    Lines end with a newline and have no blanks at their ends, tabs are blanks, lines that go on in
    the next (a backslash at the end) are one, and comments are gone: they begin with "#" at the
    start of a line or behind a blank. Bytes that are not UTF-8 stay what they are, as in file names
    (`surrogateescape`).
    """
    text = _decoded(data).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    text = _without_comments(text)
    for needed, pattern, by in (
        ("\\", _CONTINUED, " "),
        ("\n ", _INDENTED, "\n"),
        (" \n", _TRAILING, "\n"),
    ):
        if needed in text:
            text = pattern.sub(by, text)
    return text.strip(" ")


def spellings(name: str) -> Iterator[str]:
    """A name, and where it has more than ASCII what its bytes stand for in other encodings."""
    yield name
    if name.isascii():
        return
    raw = name.encode("utf-8", "surrogateescape")
    for encoding in _ENCODINGS:
        try:
            yield raw.decode(encoding)
        except UnicodeDecodeError:
            continue


def keys(name: str) -> set[str]:
    """What names that mean the same have in common, whatever their case, blanks and encoding."""
    return {
        unicodedata.normalize("NFC", " ".join(one.split())).casefold() for one in spellings(name)
    }


def readable(name: str) -> str:
    """A name that can be recorded and printed anywhere."""
    raw = name.encode("utf-8", "surrogateescape")
    return shown(name if _is_text(raw) else raw.decode("latin-1"))


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    # Without a mark at its start, UTF-16 shows in the half of its bytes that ASCII leaves empty.
    if len(data) > 1 and b"\0" in data[:2]:
        return data.decode("utf-16-le" if data[1] == 0 else "utf-16-be", "replace")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _without_comments(text: str) -> str:
    parts, start, at = [], 0, text.find("#")
    while at >= 0:
        if at == 0 or text[at - 1] in " \n":
            parts.append(text[start:at])
            end = text.find("\n", at)
            start = at = end if end >= 0 else len(text)
        at = text.find("#", at + 1)
    return "".join([*parts, text[start:]])


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
