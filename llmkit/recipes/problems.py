"""A problem that pydantic finds in a recipe, as a line for the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from llmkit.recipes.shapes import SHAPES
from llmkit.system.errors import did_you_mean

Key = tuple[str | int, ...]


def explain(kind: type[BaseModel], problem: dict[str, Any], place: Callable[[Key], str]) -> str:
    """Say where a problem with a recipe of this kind is, and what it is. `place` tells where a key was given."""
    key, section = _key_at(kind, problem["loc"])
    if problem["type"] == "union_tag_invalid":
        key = (*key, "model_type")
    if problem["type"] == "extra_forbidden":
        known = list(section.model_fields) if section else []
        what = f"unknown key{did_you_mean(str(key[-1]), known)}"
        if not did_you_mean(str(key[-1]), known):
            what += f"; known keys: {', '.join(known)}"
    elif problem["type"] == "union_tag_invalid":
        what = f"should be {' or '.join(map(repr, SHAPES))}, got {problem['input']['model_type']!r}"
    elif problem["type"] == "missing":
        what = "missing"
    elif problem["type"] == "value_error":
        what = problem["msg"].removeprefix("Value error, ")
    else:
        message = problem["msg"].removeprefix("Input ")
        what = f"{message}, got {problem['input']!r}"
    return ": ".join(part for part in (place(key), dotted(key), what) if part)


def dotted(key: Key) -> str:
    """A key as users write it: `corpus.sources[0].path`."""
    written = ""
    for part in key:
        written += f"[{part}]" if isinstance(part, int) else f".{part}" if written else str(part)
    return written


def _key_at(kind: type[BaseModel], location: Sequence[str | int]) -> tuple[Key, type[BaseModel] | None]:
    """The key at a location of pydantic's, which also names branches of unions; and the section that the key is in."""
    key: Key = ()
    within: type[BaseModel] | None = None
    section: type[BaseModel] | None = kind
    is_name = False
    for part in location:
        if isinstance(part, str) and not is_name:
            if section is None:  # a branch of a union of values, such as `bool`
                continue
            if key == ("model", "config") and within not in SHAPES.values():  # the branch of a shape is its model_type
                within = section = SHAPES[part]
                continue
            within, field = section, section.model_fields.get(part)
            section = section_in(field.annotation) if field else None
            is_name = field is not None and _is_mapping(field.annotation)
        else:
            is_name = False
        key = (*key, part)
    return key, within


def section_in(annotation: Any) -> type[BaseModel] | None:
    """The section class in an annotation such as `list[Annotated[Source, …]] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_in(inner))), None)


def _is_mapping(annotation: Any) -> bool:
    """Whether an annotation such as `dict[str, Source] | None` is of names that the user chooses."""
    return get_origin(annotation) is dict or any(_is_mapping(inner) for inner in get_args(annotation))
