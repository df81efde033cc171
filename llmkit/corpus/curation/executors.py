"""Run the stages: in processes that share a folder, on Slurm, or on Ray.

datatrove's own LocalPipelineExecutor waits for ever if one of its processes is killed. Ours shares the work through
locks in the folder, as tokenizing does: the system releases the lock of a dead process.
"""

from __future__ import annotations

import resource
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from filelock import FileLock, Timeout

from llmkit.corpus.curation.plan import Plan
from llmkit.corpus.curation.stages import pipeline
from llmkit.corpus.curation.workers import CANNOT_WRITE, end_with
from llmkit.system.files import is_about_writing


class SharedFolderExecutor(PipelineExecutor):  # type: ignore[misc]
    """Does the tasks of a stage that no other process does. `run` returns once all are completed."""

    pipeline: list[Any]

    def __init__(self, steps: list[Any], tasks: int, folder: Path, first: int) -> None:
        super().__init__(steps, str(folder))
        self._tasks, self._folder, self._first = tasks, folder, first % tasks

    @property
    def world_size(self) -> int:
        """See PipelineExecutor."""
        return self._tasks

    def get_distributed_env(self, node_rank: int = -1) -> Any:
        """See PipelineExecutor: what steps that start servers of their own would read."""
        names = ("node_ips", "cpus_per_task", "mem_per_cpu", "gpus_on_node")
        return {f"datatrove_{name}": "-1" for name in names} | {"datatrove_executor": "LOCAL"}

    def run(self) -> None:
        """See PipelineExecutor."""
        self._folder.mkdir(parents=True, exist_ok=True)
        steps = self.pipeline
        ranks = [(self._first + number) % self._tasks for number in range(self._tasks)]
        # Then wait for tasks of other processes, in one order, and do those of processes that died.
        for wait, order in ((False, ranks), (True, sorted(ranks))):
            for rank in order:
                if self.is_rank_completed(rank):
                    continue
                try:
                    with FileLock(self._folder / f".{rank:05d}.lock").acquire(blocking=wait):
                        self.pipeline = deepcopy(steps)  # steps count what they do
                        self._run_for_rank(rank)
                except Timeout:
                    pass  # another process does it


def run_shared(plan: Plan, first: int) -> None:
    """Do all stages together with other processes, beginning with the share `first` of the tasks, from 0 to 99."""
    for stage in plan.stages:
        tasks = plan.tasks(stage)
        SharedFolderExecutor(pipeline(plan, stage), tasks, plan.stage_folder(stage), tasks * first // 100).run()


def run_on_ray(plan: Plan) -> None:
    """Do all stages on the Ray cluster of $RAY_ADDRESS, or on this machine. One process at a time does so."""
    import ray

    from llmkit.corpus.curation.on_ray import RayExecutor

    ray.init(log_to_driver=False)
    for stage in plan.stages:
        RayExecutor(pipeline(plan, stage), plan, stage).run()
        if plan.done(stage) < plan.tasks(stage):
            sys.exit(f"Ray did not complete the stage {stage!r}: see {plan.stage_folder(stage)}/logs")


def submit_to_slurm(plan: Plan) -> None:
    """Submit a job array per stage, each of which waits for the one before."""
    from datatrove.executor.slurm import SlurmPipelineExecutor

    slurm, before = plan.recipe.slurm, None
    for stage in plan.stages:
        before = SlurmPipelineExecutor(
            pipeline(plan, stage),
            tasks=plan.tasks(stage),
            workers=plan.recipe.workers or 100,
            time=slurm.time,
            partition=slurm.partition,
            qos="",  # the cluster's default, which need not be named normal
            mem_per_cpu_gb=slurm.memory_gb,
            env_command=slurm.setup or None,
            job_name=f"llmkit-{stage}",
            logging_dir=str(plan.stage_folder(stage)),
            depends=before,
        )
    assert before is not None
    before.run()


def main() -> None:
    """`python -m llmkit.corpus.curation.executors HOW WORK FIRST PARENT`, a process that `llmkit curate` starts.

    PARENT is the id of the command's process.
    """
    how, work, first, parent = sys.argv[1:]
    if how != "slurm":  # a submission is better finished than cut in the middle
        end_with(int(parent))
    plan = Plan.load(Path(work))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the signatures of all tasks
    try:
        if how == "local":
            run_shared(plan, int(first))
        elif how == "ray":
            with FileLock(plan.ray_lock):  # of a killed command, whose driver ends in a moment
                run_on_ray(plan)
        else:
            submit_to_slurm(plan)
    except OSError as error:
        if not is_about_writing(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(CANNOT_WRITE)


if __name__ == "__main__":
    main()
