"""The files of the dashboard, read once: what is not among them is not served, whatever path is asked for.

Nothing is built and nothing comes from elsewhere; ``static/vendor`` holds what others wrote, with its license. Used by
``dashboard``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

CONTENT_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}


class Asset(NamedTuple):
    """One file as it is sent."""

    content: bytes
    content_type: str


def read_assets() -> Mapping[str, Asset]:
    """Every file of the page by its path, with slashes."""
    return dict(_walk(files("dehedge.adapters.web") / "static", ""))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif (suffix := entry.name.rpartition(".")[2]) in CONTENT_TYPES:
            yield f"{prefix}{entry.name}", Asset(entry.read_bytes(), CONTENT_TYPES[suffix])
