"""HTML templates; whatever they print is escaped, and a value that is missing is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def templates_in(folder: Path) -> Callable[..., Markup]:
    """`render(template, **values)` for the templates that lie in a folder."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def render(template: str, **values: object) -> Markup:
        return Markup(environment.get_template(template).render(**values))

    return render
