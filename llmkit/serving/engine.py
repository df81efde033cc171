"""One thread that runs the model: requests wait in a queue, and those that are there together are read together."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from llmkit.serving.measured import Measured
from llmkit.serving.refusals import Refused
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.tasks.values import Prediction

COMPANY = 0.004  # seconds that the first request waits for others
TURN = 65_536  # characters that are read together at most: more would save no padding
SECONDS = 1.0  # that a turn may take, by the speed of those before it: all of its requests wait for the last one

Example = Mapping[str, Any]
Answer = Callable[[Sequence[Example]], Sequence[Prediction]]


@dataclass
class Job:
    """The examples of one request."""

    examples: Sequence[Example]
    characters: int
    future: asyncio.Future[Sequence[Prediction]]
    arrived: float = field(default_factory=time.monotonic)


class Engine:
    """Runs `answer` on the examples of requests, in a thread of its own. Start it and submit from an event loop."""

    def __init__(self, answer: Answer, measured: Measured) -> None:
        self._answer, self._measured = answer, measured
        self._jobs: deque[Job] = deque()
        self._changed = Condition()
        self._stopping = False
        self._characters = self._seconds = 0.0  # of the turns so far, where each counts half as much as the next
        self._thread = Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    async def answer(self, examples: Sequence[Example], characters: int) -> Sequence[Prediction]:
        """One prediction per example. Raises Refused. A request that is cancelled while it waits is not read."""
        job = Job(examples, characters, asyncio.get_running_loop().create_future())
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return await job.future

    def _run(self) -> None:
        while turn := self._next_turn():
            began = time.monotonic()
            for job in turn:
                self._measured.waited.observe(began - job.arrived)
            results = self._results(turn)
            took = time.monotonic() - began
            self._measured.turn(sum(len(job.examples) for job in turn), took)
            self._characters = self._characters / 2 + sum(job.characters for job in turn)
            self._seconds = self._seconds / 2 + took
            loop = turn[0].future.get_loop()
            try:
                loop.call_soon_threadsafe(_deliver, turn, results)
            except RuntimeError:
                if not loop.is_closed():
                    raise
                return  # the server was told not to wait

    def _next_turn(self) -> list[Job]:
        """The jobs to read next, at least one; none when it is time to stop."""
        with self._changed:
            while True:
                while not self._jobs and not self._stopping:
                    self._changed.wait()
                if not self._jobs:
                    return []
                deadline = self._jobs[0].arrived + COMPANY
                while not self._stopping and sum(job.characters for job in self._jobs) < TURN:
                    if (left := deadline - time.monotonic()) <= 0:
                        break
                    self._changed.wait(left)
                if turn := self._taken():
                    return turn

    def _taken(self) -> list[Job]:
        """The oldest jobs up to the size of a turn; one that is larger is a turn of its own. Skips cancelled ones."""
        turn: list[Job] = []
        characters = 0
        most = min(TURN, SECONDS * self._characters / self._seconds) if self._seconds else 0  # at first one job, timed
        while self._jobs and (not turn or characters + self._jobs[0].characters <= most):
            job = self._jobs.popleft()
            if not job.future.cancelled():
                turn.append(job)
                characters += job.characters
        return turn

    def _results(self, turn: Sequence[Job]) -> list[Sequence[Prediction] | Exception]:
        """The predictions or the error of each job. If all of them together fail, each is read alone."""
        try:
            found = iter(self._answer([example for job in turn for example in job.examples]))
            return [[next(found) for _ in job.examples] for job in turn]
        except Exception as error:  # hides nothing: it is the answer to its request
            if len(turn) > 1:
                return [self._results([job])[0] for job in turn]
            return [_refusal(error)]


def _deliver(turn: Sequence[Job], results: Sequence[Sequence[Prediction] | Exception]) -> None:
    for job, found in zip(turn, results, strict=True):
        if job.future.done():  # it took too long, and its sender was told
            continue
        if isinstance(found, Exception):
            job.future.set_exception(found)
        else:
            job.future.set_result(found)


def _refusal(error: Exception) -> Refused:
    if isinstance(error, OutOfMemory):
        return Refused(413, "the text does not fit into the server's memory", remedy="send a shorter text")
    if isinstance(error, UserError):
        return Refused(422, *error.problems, remedy=error.remedy)
    return bug(error)


def bug(error: Exception) -> Refused:
    """The refusal after a bug, which is logged without its message: that may quote a text."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    warn(f"a request failed, which is a bug: {type(error).__name__}, at\n{frames}")
    sys.stderr.flush()
    return Refused(500, "the server failed", remedy="please report it with what the server printed")
