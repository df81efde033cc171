"""What a job manager does: start a command, take it away at any moment, and start the same command again.

The processes of a launcher are copies of one that has imported everything, so that a life of a run takes a second.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from llmkit.training.checkpoints import SEAL

IMPORTED = ["llmkit.cli.main", "llmkit.commands.pretrain", "llmkit.commands.finetune", "llmkit.tasks.head"]
PATIENCE = 300  # seconds until a process must have come to something

# What a job manager sends: signals with the seconds before each. Every process gets them, and the launcher too.
WAYS: dict[str, list[tuple[float, signal.Signals]]] = {
    "SIGTERM": [(0.0, signal.SIGTERM)],
    "SIGTERM twice": [(0.0, signal.SIGTERM), (0.05, signal.SIGTERM)],
    "SIGUSR1, then SIGTERM": [(0.0, signal.SIGUSR1), (0.3, signal.SIGTERM)],
    "SIGKILL": [(0.0, signal.SIGKILL)],
}
# Moments, with the seconds that may pass after they have come.
MOMENTS = {"while it starts": 1.0, "in training": 0.1, "while it evaluates": 0.02, "while it saves": 0.02}
STEPS = 8  # from kill to kill
EVALUATIONS = 4  # steps from one to the next
REST = 40  # steps after the last kill: a run must not come to its end before it


def processes() -> Any:
    """Where copies come from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _llmkit(arguments: Sequence[str], folder: Path, environment: dict[str, str], messages: Path) -> None:
    """Run a command in this process, which is a copy."""
    from llmkit.cli.main import main

    with messages.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = ["llmkit", *arguments]
    main()


@dataclass
class Queue:
    """Runs a command in a folder, again and again. `told` is how its lives ended: (way, moment, step, exit codes)."""

    folder: Path
    chance: random.Random
    told: list[tuple[str, str, int, list[int]]] = field(default_factory=list)

    def start(self, arguments: Sequence[str], count: int) -> list[BaseProcess]:
        """Start a command on `count` processes."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        started = []
        for rank in range(count):
            environment = {name: value for name, value in os.environ.items() if name.startswith(("LLMKIT_", "HF_"))}
            if count > 1:
                environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
                environment |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            messages = self.folder / f"messages-{rank}.txt"
            process = processes().Process(target=_llmkit, args=(list(arguments), self.folder, environment, messages))
            process.start()
            started.append(process)
        return started

    def end(self, started: Sequence[BaseProcess]) -> list[int]:
        """Wait for processes; their exit codes."""
        deadline = time.monotonic() + PATIENCE
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
            assert process.exitcode is not None, f"it hangs: {self.messages()}"
        return [int(process.exitcode or 0) for process in started]

    def messages(self) -> str:
        """What all lives printed."""
        return "\n".join(file.read_text() for file in sorted(self.folder.glob("messages-*.txt")))

    def take_away(self, started: Sequence[BaseProcess], run: Path) -> bool:
        """End processes at some moment, in some way. Returns whether the run had come to its end before."""
        way, moment = self.chance.choice(list(WAYS)), self.chance.choice(list(MOMENTS))
        goal = STEPS * len(self.told)
        self._wait(started, _moment(moment, run, goal), self.chance.random() * MOMENTS[moment])
        for pause, number in WAYS[way]:
            time.sleep(pause)
            for process in started:
                if process.exitcode is None:
                    os.kill(process.pid or 0, number)
        codes = self.end(started)
        self.told.append((way, moment, _last(run).get("step", 0), codes))
        number = WAYS[way][0][1]
        # Before its training a process has nothing to save; a peer that waits for it in vain ends with 1.
        known = {0, -number, 128 + number, *([1] if len(codes) > 1 else [])}
        assert set(codes) <= known, (way, moment, codes, self.messages())
        return codes == [0] * len(codes)

    def _wait(self, started: Sequence[BaseProcess], come: Callable[[], bool], pause: float) -> None:
        deadline = time.monotonic() + PATIENCE
        while not come() and all(process.exitcode is None for process in started):
            assert time.monotonic() < deadline, self.messages()
            time.sleep(0.002)
        time.sleep(pause)


def _moment(name: str, run: Path, goal: int) -> Callable[[], bool]:
    """Whether a moment has come, at step `goal` or later."""
    if name == "while it starts":
        return lambda: True
    old = set(run.glob("checkpoints/*"))

    def come() -> bool:
        last = _last(run)
        if last.get("step", 0) < goal:
            return False
        if name == "while it evaluates":
            return "loss" in last and last["step"] % EVALUATIONS == 0
        new = (path for path in run.glob("checkpoints/*") if path not in old)
        return name == "in training" or any(not (path / SEAL).is_file() for path in new)

    return come


def _last(run: Path) -> dict[str, Any]:
    """The last whole line of a run's log."""
    log = run / "log.jsonl"
    lines = log.read_text().rpartition("\n")[0].splitlines() if log.is_file() else []
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return last


def requeue(
    queue: Queue, arguments: Sequence[str], run: Path, counts: Iterator[int], kills: int, *, resume: str = "--resume"
) -> None:
    """One command line, started until it ends, and taken away `kills` times; on the next of `counts` processes."""
    command = [*arguments, "-o", str(run), resume]
    for _ in range(kills):
        assert not queue.take_away(queue.start(command, next(counts)), run), "it ended before its last kill"
    codes = queue.end(queue.start(command, next(counts)))
    assert codes == [0] * len(codes), queue.messages()
