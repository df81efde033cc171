"""All that is wrong with the cells of a bench, in one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llmkit.system.errors import UserError


class Problems:
    """Collects the errors of cells. The same problem of several cells is told once, of the first."""

    def __init__(self) -> None:
        self._where: dict[str, str] = {}
        self._remedies: dict[str, str] = {}
        self._tasks: set[str] = set()

    @contextmanager
    def of(self, where: str, task: str = "") -> Iterator[None]:
        """Keep the UserError that is raised within, about a cell."""
        try:
            yield
        except UserError as error:
            self._tasks.add(task)
            for problem in error.problems:
                self._where.setdefault(problem, where)
                self._remedies.setdefault(problem, error.remedy)

    def check(self, tasks: Sequence[str]) -> None:
        """Raises UserError with what was kept. Its remedy names the `tasks` that have no problem, if there are any."""
        if not self._where:
            return
        remedies = set(self._remedies.values())
        able = [task for task in tasks if task not in self._tasks]
        if len(remedies) == 1:
            lines, remedy = [f"{where}: {problem}" for problem, where in self._where.items()], remedies.pop()
        else:
            lines = [f"{where}: {problem} ({self._remedies[problem]})" for problem, where in self._where.items()]
            remedy = "correct these"
        raise UserError(*lines, remedy=f"{remedy}, or bench the others: --only {','.join(able)}" if able else remedy)
