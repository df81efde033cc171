"""TensorBoard: event files in the run's folder, or in $TENSORBOARD_LOGGING_DIR."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from llmkit.training.trackers.sent import Row, Sent
from llmkit.training.trackers.tracker import Status, Tracker


class TensorBoard(Tracker):
    """Event files. A resumed run begins a file that takes back the steps it repeats."""

    library = "tensorboard"
    _writer: Any = None

    def start(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See Tracker."""
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations.integration_utils import TensorBoardCallback

        shared = os.environ.get("TENSORBOARD_LOGGING_DIR")
        known = self.known()
        if shared:
            around = Path(shared).expanduser().resolve()
            begun = bool(known.get("folder")) and Path(known["folder"]).is_relative_to(around)
            folder = Path(known["folder"]) if begun else self._free_folder(around)
        else:
            begun = "folder" in known and known["folder"] is None
            folder = self.tracked.folder / "tensorboard"
        place = str(folder) if shared else None  # the run's own folder may move with the run
        last = max((row["step"] for row in rows), default=-1)
        self._sent = Sent({"sent": [last, 1], **known} if begun else {})
        self._sent.cut(last)
        self._writer = SummaryWriter(str(folder), purge_step=last + 1 if begun else None)
        self.begin(TensorBoardCallback(self._writer))
        self.keep(folder=place, **self._sent.kept())
        return rows

    def _free_folder(self, around: Path) -> Path:
        """A new folder with the run's name, or with a number after it if another run has that."""
        for number in count(1):
            folder = around / (self.tracked.name if number == 1 else f"{self.tracked.name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                break
        return folder

    def scores(self, scores: Mapping[str, float], step: int) -> None:
        """See Tracker."""
        for name, value in scores.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, status: Status, rows: Sequence[Row]) -> None:
        """See Tracker."""
        if self._writer is not None:
            self._writer.close()
