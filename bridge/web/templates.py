"""The service's HTML templates, which lie beside this file."""

from __future__ import annotations

from pathlib import Path

from bridge.common.templates import templates_in

render = templates_in(Path(__file__).parent)
