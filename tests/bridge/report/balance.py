"""Whether pages are well formed."""

from __future__ import annotations

from html.parser import HTMLParser


class Balance(HTMLParser):
    """Collects elements that were closed out of order, and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id" and tag == "section"]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)
