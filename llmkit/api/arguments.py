"""Arguments of the functions, turned into what commands take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.api.finished_run import Run

Section = Mapping[str, Any]
PathLike = str | Path


def name_of(model: PathLike | Run) -> str:
    """What commands call a model."""
    return str(model.path if isinstance(model, Run) else model)


def path_of(path: PathLike | None) -> Path | None:
    """A path, if there is one."""
    return Path(path) if path is not None else None


def register(tasks: PathLike | None) -> None:
    """Make the tasks of the user's own file known. Raises UserError."""
    if tasks is not None:
        from llmkit.tasks.user_tasks import use_tasks

        use_tasks(Path(tasks))


def data_of(data: PathLike | Section | None) -> tuple[str | None, list[str]]:
    """Split `data` into the path and the overrides that the commands take."""
    if data is None or isinstance(data, str | Path):
        return (str(data) if data is not None else None), []
    section = dict(data)
    path = section.pop("path", None)
    return (str(path) if path is not None else None), overrides_of(data=section)


def overrides_of(**sections: Section | None) -> list[str]:
    """Turn sections of a recipe into overrides: `train.learning_rate=3e-05`."""
    return [
        f"{name}.{key}={as_yaml(value)}" for name, section in sections.items() for key, value in (section or {}).items()
    ]


def as_yaml(value: Any) -> str:
    """A value as an override has it."""

    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    return json.dumps(value, default=plain)
