"""Bars on a terminal, one below the other: an evaluation's is below that of the training that it interrupts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PER_SECOND = 5  # times that bars are drawn
PERCENT = len("100%")


class Bar:
    """A bar, shown until it is removed."""

    def __init__(self, name: str, console: Console) -> None:
        self._bars = _bars_on(console)
        self._task = self._bars.add_task(name, total=None, shown=[], end="")
        self._bars.start()

    def show(self, shown: Sequence[str], end: str, share: float | None) -> None:
        """Show texts, those that fit and then `end`, and the share that is done: from 0 to 1, None if unknown."""
        done = 0.0 if share is None else min(max(share, 0.0), 1.0)
        self._bars.update(self._task, total=None if share is None else 1, completed=done, shown=shown, end=end)

    def remove(self) -> None:
        """Remove the bar. The cursor is given back with the last one."""
        self._bars.remove_task(self._task)
        if not self._bars.tasks:
            self._bars.stop()


_latest: _Bars | None = None


def _bars_on(console: Console) -> _Bars:
    """The bars of a console. A console has one display at a time, so all share it."""
    global _latest
    if _latest is None or _latest.console is not console:
        _latest = _Bars(console)
    return _latest


class _Bars(Progress):
    """rich's display of progress, with what is told beside a bar cut to the width of the terminal."""

    def __init__(self, console: Console) -> None:
        self._screen = console  # rich asks for the lines before it has kept the console
        # Results on stdout are for pipes and files: they must not come out here.
        super().__init__(console=console, refresh_per_second=PER_SECOND, transient=True, redirect_stdout=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        """One line for each bar."""
        width, tasks = self._screen.width, self.tasks
        bar = max(8, min(width // 7, 40))
        name = max((len(task.description) for task in tasks), default=0)
        grid = Table.grid(padding=(0, 1))
        for _ in range(4):
            grid.add_column(no_wrap=True, overflow="crop")
        for task in tasks:
            known = task.total is not None
            drawn = ProgressBar(total=task.total, completed=task.completed, width=bar, pulse=not known)
            percent = f"{int(100 * task.completed)}%".rjust(PERCENT) if known else ""
            room = width - name - bar - PERCENT - 3
            told = Text(_fitted(task.fields["shown"], task.fields["end"], room))
            grid.add_row(Text(task.description), drawn, Text(percent, "progress.percentage"), told)
        yield grid


def _fitted(shown: Sequence[str], end: str, room: int) -> str:
    """As many of the texts as there is room for, the first ones, and the last."""
    for number in range(len(shown), -1, -1):
        line = "  ".join(filter(None, [*shown[:number], end]))
        if len(line) <= room:
            return line
    return ""
