"""`llmkit curate`: filter a corpus, and leave out near duplicates and evaluation data, before it is tokenized.

The work is datatrove's (corpus/curation/). This command finds the sources, starts the processes, watches them, and
keeps the result. All that is done stays done: after a kill, the same command goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from glob import escape
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llmkit.corpus.curation.counts import counts_of
from llmkit.corpus.curation.plan import Plan, clean, settings_key
from llmkit.corpus.curation.workers import Workers, noted
from llmkit.corpus.sources import PART_BYTES, OpenSource, open_source
from llmkit.recipes.curation import CurateRecipe
from llmkit.system.cache import file_fingerprint, fingerprint, writing
from llmkit.system.console import duration, say
from llmkit.system.errors import UserError, differences
from llmkit.system.extras import need
from llmkit.system.files import to_json, write_whole
from llmkit.tasks.rows.formats import file_rows
from llmkit.tasks.rows.splits import files_named

RULES = 1  # changes when the same inputs make another result
MANIFEST = "curation.json"


@dataclass(frozen=True)
class Prepared:
    """Everything that `curate` needs, checked. `against` are the files of evaluation data."""

    folder: Path
    recipe: CurateRecipe
    sources: Sequence[OpenSource]
    against: Sequence[Path]
    key: dict[str, Any]

    @property
    def is_made(self) -> bool:
        """Whether the result exists. Raises UserError if the folder holds another one."""
        manifest = self.folder / MANIFEST
        if not manifest.is_file():
            return False
        if changes := differences(json.loads(manifest.read_text(encoding="utf-8"))["key"], _plain(self.key)):
            raise UserError(
                f"{self.folder} was made from other inputs: {'; '.join(changes)}",
                remedy="choose another folder with -o",
            )
        return True


def prepare(recipe: CurateRecipe, folder: Path) -> Prepared:
    """Find the sources and files. Writes nothing. Raises UserError."""
    need("scale", ["datatrove"])
    if recipe.executor == "ray" and find_spec("ray") is None:
        raise UserError("executor=ray needs Ray, which is not installed", remedy="install it: pip install ray")
    if recipe.executor == "slurm" and shutil.which("sbatch") is None:
        raise UserError("executor=slurm needs Slurm's sbatch, which is not here", remedy="run this on a login node")
    if weighted := [source.path for source in recipe.sources if source.weight != 1]:
        raise UserError(
            f"{', '.join(weighted)}: weight has no effect here", remedy="give it to `llmkit tokenize`, with -c FOLDER"
        )
    against = files_named(recipe.contamination.files, "contamination.files")
    sources = [open_source(source) for source in recipe.sources]
    key = {
        "rules": RULES,
        "datatrove": version("datatrove"),
        "part": PART_BYTES,
        **settings_key(recipe),
        "against": [file_fingerprint(file) for file in against],
        "sources": [{**source.content, "documents": source.spec.documents} for source in sources],
    }
    prepared = Prepared(folder, recipe, sources, against, key)
    if not prepared.is_made and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is in use and holds no curated corpus", remedy="choose another folder with -o")
    return prepared


def curate(prepared: Prepared) -> Path | None:
    """Make the corpus unless it exists. Returns the folder of its documents; None while Slurm works on it.

    Raises UserError if text cannot be read, if the folder cannot be written, or if processes keep dying.
    """
    if prepared.is_made:
        say(f"already curated: {prepared.folder}")
    else:
        with writing(prepared.folder):
            if not _build(prepared):
                return None
    manifest = json.loads((prepared.folder / MANIFEST).read_text(encoding="utf-8"))
    _tell(manifest["counts"])
    return prepared.folder / "documents"


def _build(prepared: Prepared) -> bool:
    """Work in a folder beside the result, then rename it. Returns False if Slurm has yet to do the work."""
    path = prepared.folder.resolve()
    work = path.parent / f".{path.name}.{fingerprint(prepared.key)}.partial"
    work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(work / ".lock").acquire(blocking=False))
        except Timeout:
            raise UserError(f"another process curates {prepared.folder}", remedy="wait for it") from None
        _tell_of_others(path, work)
        if not (work / MANIFEST).exists() and not _work(prepared, work):
            return False
        clean(work)
        if path.exists():
            path.rmdir()  # the user may have created an empty folder
        work.rename(path)
    (path / ".lock").unlink(missing_ok=True)
    return True


def _work(prepared: Prepared, work: Path) -> bool:
    """Do all stages, and say in the manifest that they are done. Returns False if Slurm has yet to do the work."""
    plan = _plan(prepared, work)
    start = time.monotonic()
    if prepared.recipe.executor == "slurm":
        if not _on_slurm(plan):
            return False
    else:
        plan.error.unlink(missing_ok=True)
        Workers(plan).run()
    counts = counts_of(plan)
    if not counts["kept"]:
        raise UserError(
            f"no document is left of {counts['documents']:,}: {work / 'removed'} has them with the reasons",
            remedy="leave out a rule of `quality`, or give other text",
        )
    say(f"curated {counts['bytes'] / 1e6:,.1f} MB in {duration(time.monotonic() - start)}")
    specs = [source.spec.model_dump(exclude_none=True) for source in prepared.sources]
    write_whole(work / MANIFEST, to_json({"key": prepared.key, "sources": specs, "counts": counts}))
    return True


def _tell_of_others(path: Path, work: Path) -> None:
    """Say which folders hold unfinished work on other inputs for the same place: nothing else removes them."""
    pattern = f".{escape(path.name)}.{'[0-9a-f]' * len(fingerprint({}))}.partial"
    others = [str(other) for other in sorted(path.parent.glob(pattern)) if other != work]
    if others:
        say(f"unfinished work on other inputs or settings, which may be removed: {', '.join(others)}")


def _plan(prepared: Prepared, work: Path) -> Plan:
    """The plan, saved for the processes, and the index of evaluation data. Raises UserError if that is empty."""
    from llmkit.corpus.curation.stages import write_index

    plan = Plan.of(work, prepared.sources, prepared.recipe)
    if prepared.against and not (work / "plan.pickle").exists():
        words = prepared.recipe.contamination.words
        number = write_index(plan, _texts_of(prepared.against))
        if not number:
            raise UserError(
                f"no text in contamination.files has {words} words, so none can be looked for",
                remedy="look for shorter sequences, as with contamination.words=8; or leave contamination.files out",
            )
        say(f"looking for {number:,} sequences of {words} words of evaluation data")
    plan.save()
    return plan


def _texts_of(files: Sequence[Path]) -> Iterator[str]:
    """All texts in files of rows."""
    for file in files:
        for _, row in file_rows(file, ()):
            yield from _texts_in(row)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


def _on_slurm(plan: Plan) -> bool:
    """Submit the jobs, unless they are. Returns whether all is done. Raises UserError if a job noted one."""
    stage, done, tasks = plan.progress()
    if stage == plan.stages[-1] and done == tasks:
        return True
    submitted = plan.work / "submitted"
    if submitted.exists():
        if error := noted(plan):
            raise UserError(*error.problems, remedy=f"{error.remedy}; then remove {submitted} to submit again")
        say(f"{stage}: {done:,} of {tasks:,} parts are done; if no job is left, remove {submitted} to submit again")
        return False
    plan.error.unlink(missing_ok=True)
    command = [sys.executable, "-m", "llmkit.corpus.curation.executors", "slurm", str(plan.work), "0", str(os.getpid())]
    with (plan.work / "slurm.log").open("ab") as log:
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if code:
        lines = (plan.work / "slurm.log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise UserError(f"the jobs cannot be submitted: {lines[-1]}", remedy=f"see {plan.work / 'slurm.log'}")
    write_whole(submitted, "")
    say("submitted; the same command says how far the jobs are, and finishes when they are done")
    return False


def _tell(counts: dict[str, Any]) -> None:
    for why, number in counts["removed"].items():
        say(f"removed {number:,} documents: {why}")
    say(
        f"kept {counts['kept']:,} of {counts['documents']:,} documents, "
        f"{counts['kept_bytes'] / 1e6:,.1f} of {counts['bytes'] / 1e6:,.1f} MB"
    )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
