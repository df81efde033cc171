"""The facts for a model card: what a run recorded, and the same for the run that it started from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.models.checkpoint import Checkpoint
from llmkit.sharing.redact import shareable
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir, Threshold, null_threshold_of
from llmkit.tasks import task_named
from llmkit.tasks.base import Task
from llmkit.tasks.user_tasks import KEY, check_tasks_file


@dataclass(frozen=True)
class Facts:
    """What a run recorded. `log` has the lines of log.jsonl, oldest first.

    `base` holds the facts of the run that it started from. It is None if the start was not a run, or the run is gone.
    `scores_of_start` are those before the first step. They are empty for a run that did not evaluate its start.
    """

    recipe: dict[str, Any]
    environment: dict[str, Any]
    scores: dict[str, Any]
    log: list[dict[str, Any]]
    config: dict[str, Any]
    model: Path
    null_threshold: Threshold | None
    base: Facts | None
    scores_of_start: dict[str, float] = field(default_factory=dict)

    @property
    def task(self) -> Task[Any] | None:
        """The task that the model was fine-tuned for. None for a pretraining run."""
        return task_named(self.recipe["task"]) if "task" in self.recipe else None

    @property
    def tasks_file(self) -> str | None:
        """The name of the user's file that the task is from; None for a task of ours."""
        facts = self.environment.get(KEY)
        return Path(facts["file"]).name if facts else None

    @property
    def data(self) -> dict[str, Any]:
        """The data section of the recipe. Empty for a pretraining run."""
        section: dict[str, Any] = self.recipe.get("data", {})
        return section

    @property
    def data_on_hub(self) -> str | None:
        """The Hub dataset of a fine-tuning run, if it used one."""
        path = self.data.get("path")
        return path if path in self.environment["hub"]["dataset"] else None

    @property
    def corpus(self) -> list[dict[str, Any]]:
        """The sources of a pretraining run."""
        sources: list[dict[str, Any]] = self.environment["data"].get("corpus", {}).get("sources", [])
        return sources

    @property
    def also_evaluated(self) -> dict[str, list[dict[str, Any]]]:
        """The sources of each further corpus that a pretraining run was evaluated on, by its name."""
        return {name: key["sources"] for name, key in self.environment["data"].get("also_evaluate", {}).items()}

    @property
    def start(self) -> str | None:
        """The checkpoint that the run started from. None for random weights."""
        name: str | None = self.recipe["model"].get("pretrained")
        return name

    @property
    def start_on_hub(self) -> str | None:
        """The checkpoint that the run started from, if it is on the Hub."""
        return self.start if self.start in self.environment["hub"]["model"] else None

    @property
    def synthetic(self) -> bool:
        """Whether the run used the demo's data."""
        return self.data.get("path") == "demo" or any("demo" in source for source in self.corpus)

    @property
    def languages(self) -> set[str | None]:
        """The languages of all data, including that of earlier runs. None stands for an unknown language.

        Known are the demo's language, English, and that of Wikipedia, whose configurations name it.
        """
        known = {_language(source) for source in self.corpus}
        if self.task:
            known.add("en" if self.data.get("path") == "demo" else None)
        return known | (self.base.languages if self.base else {None} if self.start else set())

    @property
    def datasets(self) -> list[str]:
        """The Hub datasets that the model was trained on, latest first."""
        own = [source["path"] for source in self.corpus if "commit" in source]
        own += [self.data_on_hub] if self.data_on_hub else []
        return list(dict.fromkeys(own + (self.base.datasets if self.base else [])))

    @property
    def positions(self) -> int | None:
        """The maximum input length in tokens. None if there is no limit."""
        return Checkpoint.named(str(self.model)).positions

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        from safetensors import safe_open

        total = 0
        for file in self.model.glob("model*.safetensors"):
            with safe_open(file, "np") as weights:
                names = list(weights.keys())
                total += sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
        return total

    def selection(self) -> tuple[str, int]:
        """The metric that selected the best checkpoint, and the number of evaluations to choose from."""
        metric = self.task.metric if self.task else "loss"
        return metric, sum(f"eval_{metric}" in line and line["step"] > 0 for line in self.log)


def _language(source: dict[str, Any]) -> str | None:
    if "demo" in source:
        return "en"
    if source.get("path") == "wikimedia/wikipedia":  # its configurations are DATE.LANGUAGE
        return str(source["name"]).rpartition(".")[2]
    return None


def facts_of(run: RunDir, scores: Mapping[str, Any] | None = None) -> Facts:
    """The facts of a finished run, or of one whose metrics.json is about to be written, with these `scores`.

    Raises UserError if a file of the run is damaged.
    """

    def read(name: str) -> str:
        return (run.path / name).read_text(encoding="utf-8")

    try:
        environment = json.loads(read("env.json"))
        for key in ("command", "versions", "hardware", "processes", "data", "sizes", "hub"):
            environment[key]
        recipe = run.recipe()
        if "task" in recipe:
            check_tasks_file(run, recipe["task"])
            task_named(recipe["task"])  # raises UserError for an unknown task
        metrics = json.loads(read("metrics.json")) if scores is None else dict(scores)
        return Facts(
            shareable(recipe),
            shareable(environment),
            metrics,
            [json.loads(line) for line in read("log.jsonl").splitlines()],
            json.loads(read("model/config.json")),
            run.model,
            null_threshold_of(metrics),
            _base(recipe["model"].get("pretrained")),
            run.scores_of_start(),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{run.path} is damaged: {what}", remedy="restore the file, or run the recipe again") from None


def _base(name: str | None) -> Facts | None:
    if name is None:
        return None
    path = Path(name)
    base = RunDir(path.parent if path.name == "model" else path)
    if base.finished:
        with suppress(UserError):  # from another version, or damaged: the card then says that the origin is unknown
            return facts_of(base)
    return None
