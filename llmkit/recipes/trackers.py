"""The names of trackers in a recipe: `train.report_to`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from llmkit.system.errors import did_you_mean

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")


def _names(value: Any) -> Any:
    """The names of a list, each once, or a single name. `none` is no tracker, as in transformers."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise ValueError(f"should be a list of names, got {value!r}")
    for name in given:
        if name not in (*TRACKERS, "none"):
            near = did_you_mean(name, TRACKERS) if isinstance(name, str) else ""
            raise ValueError(f"unknown tracker {name!r}{near}; trackers are {', '.join(TRACKERS)}")
    return tuple(dict.fromkeys(name for name in given if name != "none"))


Trackers = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    PlainSerializer(list),  # YAML knows no tuples
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
