"""Pages of HTML that open offline: one file, nothing loaded from elsewhere, light and dark.

Templates extend `base.html`, which has the style. Everything that is filled in is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.system.files import write_whole

if TYPE_CHECKING:
    from markupsafe import Markup


def check_page(output: Path) -> None:
    """Raises UserError if a page cannot be written there."""
    if output.suffix != ".html":
        raise UserError(f"{output} does not end in .html", remedy=f"use -o {output.with_suffix('.html')}")
    if output.exists():
        raise UserError(f"{output} exists", remedy="remove it, or choose another file with -o")
    if not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent}", remedy="make it, or choose another file with -o")


def page(template: str, **values: Any) -> str:
    """The page that a template of this folder makes of values."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("llmkit.evidence", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(**values)


def fragment(template: str, **values: Any) -> Markup:
    """A part of a page, which another template takes as it is."""
    from markupsafe import Markup

    return Markup(page(template, **values))


def write_page(output: Path, template: str, **values: Any) -> None:
    """Write a page. Raises UserError if the disk does not take it."""
    content = page(template, **values)
    try:
        write_whole(output, content)
    except OSError as error:
        raise UserError(
            f"cannot write {output}: {error.strerror}", remedy="free some space or choose another file with -o"
        ) from None
