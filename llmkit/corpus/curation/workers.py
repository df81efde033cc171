"""The processes of a command that curates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.corpus.curation.plan import Plan
from llmkit.system.cores import cores
from llmkit.system.errors import UserError
from llmkit.system.progress import Progress

LOOK_EVERY = 0.5  # seconds
CANNOT_WRITE = os.EX_IOERR  # the exit code of a process that found the disk full
MOST_DEATHS = 5  # of processes in a row, without a task that is completed


def end_with(parent: int) -> None:
    """End this process soon after its parent: another command may go on with the work."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY)
        print("the command that started this process has gone", file=sys.stderr, flush=True)
        os._exit(1)  # in whatever step: the work bears kills

    threading.Thread(target=look, daemon=True).start()


def noted(plan: Plan) -> UserError | None:
    """The error that a process noted, if any."""
    if not plan.error.exists():
        return None
    error = json.loads(plan.error.read_text(encoding="utf-8"))
    return UserError(*error["problems"], remedy=error["remedy"])


@dataclass
class Workers:
    """The processes that do the work, one of which is replaced if it dies."""

    plan: Plan
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self) -> None:
        """Return once all is done. Raises UserError."""
        recipe = self.plan.recipe
        count = 1 if recipe.executor == "ray" else min(recipe.workers or cores().usable, len(self.plan.parts))
        deaths, before = 0, -1
        try:
            for number in range(count):
                self.processes.append(self._started(number, count))
            with Progress("curating") as progress:
                while any(process.poll() is None for process in self.processes) or not self._ended_well():
                    time.sleep(LOOK_EVERY)
                    stage, done, tasks = self.plan.progress()
                    progress({"": f"{stage}: {done:,} of {tasks:,} parts"})
                    for number, process in enumerate(self.processes):
                        if process.poll() in (None, 0):
                            continue
                        if error := noted(self.plan):
                            raise error
                        total = sum(self.plan.done(name) for name in self.plan.stages)
                        deaths, before = (1, total) if total > before else (deaths + 1, before)
                        if deaths > MOST_DEATHS or process.returncode > 0:
                            raise self._died(process.returncode, number)
                        self.processes[number] = self._started(number, count)
        finally:
            for process in self.processes:
                process.terminate()
            for process in self.processes:
                process.wait()

    def _ended_well(self) -> bool:
        return all(process.returncode == 0 for process in self.processes)

    def _started(self, number: int, count: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "llmkit.corpus.curation.executors", self.plan.recipe.executor]
        with self._log(number).open("ab") as log:
            return subprocess.Popen(
                [*command, str(self.plan.work), str(100 * number // count), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def _log(self, number: int) -> Path:
        return self.plan.work / f"worker-{number}.log"

    def _died(self, code: int, number: int) -> Exception:
        if code < 0:
            return UserError(
                f"processes are killed again and again, by {signal.Signals(-code).name}: perhaps for lack of memory",
                remedy="use fewer with workers=1; the same command goes on",
            )
        if code == CANNOT_WRITE:
            return UserError(
                f"{self.plan.work} cannot be written: perhaps the disk is full; see {self._log(number)}",
                remedy="free some space; the same command goes on",
            )
        last = self._log(number).read_text(encoding="utf-8", errors="replace").splitlines()[-30:]
        return RuntimeError("a process of datatrove failed:\n" + "\n".join(last))
