"""datatrove's executor for Ray, whose tasks may outlive the process that started them.

A module of its own: Ray finds the class by its name on other machines, which it could not in a program's main module.
"""

from __future__ import annotations

from typing import Any

from datatrove.executor.ray import RayPipelineExecutor
from filelock import FileLock

from llmkit.corpus.curation.plan import Plan
from llmkit.system.files import is_about_writing, to_json, write_whole


class RayExecutor(RayPipelineExecutor):  # type: ignore[misc]
    """Does the tasks of a stage. A task is done by one process at a time, also if an earlier one was left behind."""

    def __init__(self, steps: list[Any], plan: Plan, stage: str) -> None:
        super().__init__(
            steps,
            tasks=plan.tasks(stage),
            workers=plan.recipe.workers or 100,
            logging_dir=str(plan.stage_folder(stage)),
        )
        self._plan, self._folder = plan, plan.stage_folder(stage)

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        """See RayPipelineExecutor: nothing is done again. Notes an error of writing for the command."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / f".{rank:05d}.lock"):
                return super()._run_for_rank(rank, local_rank, node_rank)
        except OSError as error:
            if is_about_writing(error):
                problem = f"{self._plan.work} cannot be written: {error}"
                remedy = "free some space; the same command goes on"
                write_whole(self._plan.error, to_json({"problems": [problem], "remedy": remedy}))
            raise
