"""What is to be done: the sources, the settings, and a folder to work in.

    WORK/
      plan.pickle             this plan, for processes that join in
      index/                  hashes of the evaluation data
      kept/00000.jsonl.zst    what the filters left of a part of the text
      minhash/                signatures, pairs and what is to be removed
      documents/, removed/    the result
      stages/NAME/            datatrove's folder of a stage: completions, logs, stats

A part of the text (sources.py), or several of them, is a task. So tasks, and what comes out, depend on the text alone.
"""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmkit.corpus.sources import OpenSource
from llmkit.recipes.curation import CurateRecipe
from llmkit.system.files import write_whole

CONTAMINATED, DUPLICATE = "contaminated", "duplicate"  # why documents are removed
MOST_TASKS = 2000  # besides one per source: the second stage opens a file of each at a time
RAY_LOCK = ".ray.lock"
STAGES = ("filter", "pairs", "groups", "deduplicate")


@dataclass(frozen=True)
class Plan:
    """A corpus to curate. `parts` [tasks] are the source and the parts of each task."""

    work: Path
    sources: Sequence[OpenSource]
    parts: Sequence[tuple[int, range]]
    recipe: CurateRecipe
    _read: dict[int, list[Callable[[], Iterator[str]]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # the parts of sources, in this process: to find them takes a look at every file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": {}}

    def __deepcopy__(self, memo: Any) -> Plan:
        return self  # as large as the files are many, and copied for each task

    @classmethod
    def of(cls, work: Path, sources: Sequence[OpenSource], recipe: CurateRecipe) -> Plan:
        """The plan for these sources. Raises UserError if a dataset cannot be read."""
        # Processes of a cluster that runs already have another working folder.
        sources = [replace(source, files=tuple(file.absolute() for file in source.files)) for source in sources]
        counts = [len(source.parts()) for source in sources]
        together = -(-sum(counts) // MOST_TASKS)
        parts = [
            (source, range(first, min(first + together, count)))
            for source, count in enumerate(counts)
            for first in range(0, count, together)
        ]
        return cls(work, sources, parts, recipe)

    def save(self) -> None:
        """Write it into its folder."""
        write_whole(self.work / "plan.pickle", pickle.dumps(self))

    @staticmethod
    def load(work: Path) -> Plan:
        """Read the plan of a folder."""
        plan = pickle.loads((work / "plan.pickle").read_bytes())
        assert isinstance(plan, Plan)
        return plan

    def documents(self, task: int) -> Iterator[str]:
        """Yield the documents of a task. Raises UserError at the first bad one."""
        source, numbers = self.parts[task]
        if source not in self._read:
            self._read[source] = self.sources[source].parts()
        for number in numbers:
            yield from self._read[source][number]()

    def kept(self, task: int) -> Path:
        """The file with what the filters left."""
        return self.work / "kept" / f"{task:05d}.jsonl.zst"

    def result(self, task: int) -> Path:
        """The file with a task's documents. Those of several sources are in folders of their own."""
        folder = self.work / "documents"
        if len(self.sources) > 1:
            source = self.parts[task][0]
            folder /= f"{source:02d}-{_name(self.sources[source])}"
        return folder / f"{task:05d}.jsonl.zst"

    def removed(self, why: str, task: int) -> Path:
        """The file with the documents that were removed for a reason."""
        return self.work / "removed" / why / f"{task:05d}.jsonl.zst"

    @property
    def stages(self) -> list[str]:
        """The names of the stages, in order."""
        return list(STAGES if self.recipe.duplicates.remove else STAGES[:1])

    def tasks(self, stage: str) -> int:
        """The number of tasks of a stage."""
        return {"pairs": minhash_shape(self.recipe.duplicates.similarity)[0], "groups": 1}.get(stage, len(self.parts))

    def stage_folder(self, stage: str) -> Path:
        """datatrove's folder of a stage."""
        return self.work / "stages" / stage

    def done(self, stage: str) -> int:
        """How many tasks of a stage are completed."""
        return sum(1 for _ in (self.stage_folder(stage) / "completions").glob("*"))

    def progress(self) -> tuple[str, int, int]:
        """The stage that is not completed, or the last one, with its completed and all tasks."""
        found = ("", 0, 0)
        for stage in self.stages:
            found = (stage, self.done(stage), self.tasks(stage))
            if found[1] < found[2]:
                break
        return found

    @property
    def filters(self) -> list[str]:
        """Why the first stage removes documents, in the order of its filters."""
        return [*self.recipe.quality, *([CONTAMINATED] if self.recipe.contamination.files else [])]

    @property
    def ray_lock(self) -> Path:
        """What the process holds that does the work on Ray."""
        return self.work / RAY_LOCK

    @property
    def error(self) -> Path:
        """Where a worker notes an error of the user."""
        return self.work / "error.json"


def clean(work: Path) -> None:
    """Remove all but the result from a folder of work."""
    for name in ("stages", "kept", "minhash", "index"):
        shutil.rmtree(work / name, ignore_errors=True)
    for file in (*work.glob("*.log"), *(work / name for name in ("plan.pickle", "error.json", "submitted", RAY_LOCK))):
        file.unlink(missing_ok=True)


HASHES = 112  # of a document, as in FineWeb
FOUND = 0.92  # the probability that documents of the given similarity are found


def minhash_shape(similarity: float) -> tuple[int, int]:
    """The number of buckets, and of hashes in each: documents are near duplicates if they agree in one bucket.

    As many hashes as possible, so that less similar documents are rarely taken for duplicates.
    """
    shapes = ((HASHES // rows, rows) for rows in range(HASHES, 1, -1))
    return next((b, r) for b, r in shapes if 1 - (1 - similarity**r) ** b >= FOUND)


def _name(source: OpenSource) -> str:
    """A name for a folder."""
    return re.sub(r"\W+", "-", Path(source.spec.path.rstrip("/")).name).strip("-").lower() or "source"


def settings_key(recipe: CurateRecipe) -> dict[str, Any]:
    """The settings that the result depends on."""
    return recipe.model_dump(include={"quality", "duplicates", "contamination"})
