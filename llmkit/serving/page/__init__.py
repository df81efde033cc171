"""The page at /, and the one at /docs: files of our own, without any from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import Response

FOLDER = Path(__file__).parent
# What is served, and the file that holds it.
FILES = {
    "/": "index.html",
    "/docs": "docs.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/views.js": "views.js",
    "/docs.js": "docs.js",
    "/icon.svg": "icon.svg",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def file_of(path: str) -> Callable[[], Awaitable[Response]]:
    """The endpoint of a file."""
    file = FOLDER / FILES[path]
    content, kind = file.read_bytes(), TYPES[file.suffix]

    async def send() -> Response:
        return Response(content, media_type=kind)

    return send
