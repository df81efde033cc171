"""The commands that train many runs one after another, as functions: `search` and `bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.api.arguments import PathLike, Section, as_yaml, name_of, overrides_of, path_of, register
from llmkit.api.finished_run import Run


def search(
    task: str | None = None,
    *,
    space: Mapping[str, str | Sequence[Any]],
    recipe: PathLike | None = None,
    trials: int = 20,
    output: PathLike | None = None,
    resume: bool = False,
    auto_batch: bool = False,
    tasks: PathLike | None = None,
    corpus: Section | None = None,
    model: Section | None = None,
    data: Section | None = None,
    train: Section | None = None,
    generation: Section | None = None,
) -> dict[str, Any]:
    """Search for the settings of a recipe with the best score on the validation data.

    `space` says what to try for which keys, as a range or a list of values: `{"train.learning_rate": "1e-5..1e-4",
    "train.per_device_train_batch_size": [16, 32]}`. The sections override the keys of the recipe for all trials.
    Returns what `llmkit search --json` prints: the trials, which is `best`, and the path of its `recipe`.
    """
    from llmkit.commands import search as command
    from llmkit.system.processes import world_size

    register(tasks)
    ranges = [f"{key}={tried if isinstance(tried, str) else _listed(tried)}" for key, tried in space.items()]
    others = overrides_of(corpus=corpus, model=model, data=data, train=train, generation=generation)
    prepared = command.prepare(
        task,
        str(recipe) if recipe is not None else None,
        [*ranges, *others],
        path_of(output),
        trials,
        resume=resume,
        auto_batch=auto_batch,
        processes=world_size(),
    )
    return command.train(prepared)


def bench(
    *models: PathLike | Run,
    output: PathLike,
    only: Sequence[str] | None = None,
    data: PathLike | None = None,
    quick: bool = False,
    seeds: int | None = None,
    auto_batch: bool = False,
) -> dict[str, Any]:
    """Fine-tune and score checkpoints on GLUE, SQuAD and CoNLL-2003, by fixed recipes.

    `only` names some of the tasks. `data` is a folder with a folder for each task; without it, the Hub has them.
    `quick` is a smoke test on the first 1,000 examples of each split. A bench that was stopped goes on. Returns what
    bench.json then holds.
    """
    from llmkit.commands import bench as command
    from llmkit.system.processes import world_size

    prepared = command.prepare(
        [name_of(model) for model in models],
        Path(output),
        only,
        path_of(data),
        quick=quick,
        count=seeds,
        auto_batch=auto_batch,
        processes=world_size(),
    )
    return command.train(prepared)


def _listed(values: Sequence[Any]) -> str:
    """Values as the command line separates them."""
    return ",".join(map(as_yaml, values))
