"""What a run leaves: the contract between commands.

    runs/NAME/
      recipe.yaml   resolved: running it again repeats the run
      env.json      versions, hardware, processes, data fingerprints, command line
      log.jsonl     one line per report
      checkpoints/  for --resume
      model/        loads with AutoModel….from_pretrained and nothing of ours; llmkit.json says what it is for
      metrics.json  scores; written last, so a run that has it ended well
      predictions.jsonl

Every file is written whole or not at all, by one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from llmkit.system.errors import UserError
from llmkit.system.files import to_json, to_json_lines, write_whole
from llmkit.system.processes import rank

LOCK = ".lock"
FOREIGN = "give the folder of a run, as llmkit wrote it"


@dataclass(frozen=True)
class RunDir:
    """The folder of one run."""

    path: Path

    @property
    def model(self) -> Path:
        """The finished model with its tokenizer."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints to resume from."""
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether the run ended well."""
        return (self.path / "metrics.json").is_file()

    def recipe(self) -> dict[str, Any]:
        """The run's recipe as plain values. Raises UserError where this is no run."""
        path = self.path / "recipe.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            what = " ".join(str(error).split())
            raise UserError(f"{path}: not readable as a run's recipe: {what}", remedy=FOREIGN) from None
        if not isinstance(values, dict):
            raise UserError(f"{path}: not a run's recipe", remedy=FOREIGN)
        return values

    def null_threshold(self) -> float | None:
        """The null score above which the run's model is to abstain; None where it never is.

        Raises UserError where metrics.json is damaged.
        """
        if not self.finished:
            return None
        path = self.path / "metrics.json"
        try:
            return null_threshold_of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}", remedy="evaluate the run's model/ folder itself") from None

    def write_text(self, name: str, text: str) -> None:
        """One of the run's files, whole."""
        write_whole(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """One of the run's files, whole, as JSON."""
        self.write_text(name, to_json(value))

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """One of the run's files, whole, a JSON document a line."""
        self.write_text(name, to_json_lines(rows))

    def log(self, record: Mapping[str, Any]) -> None:
        """One more line of log.jsonl."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def trim_log(self, step: int) -> None:
        """Forget what was logged after a step, and a line that was cut off: the run goes on from there."""
        path = self.path / "log.jsonl"
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            with suppress(ValueError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        self.write_text("log.jsonl", "".join(kept))


def null_threshold_of(scores: Mapping[str, Any]) -> float | None:
    """The null threshold that an evaluation tuned, where there was one to tune."""
    tuned = scores.get("tuned")
    return float(tuned["null_threshold"]) if tuned else None


def open_run(path: Path, *, resume: bool) -> RunDir:
    """A new run's folder, or that of the run to resume. Reads only; `start` writes.

    Raises UserError where a folder is in use, or where there is nothing to resume.
    """
    run = RunDir(path)
    if not resume:
        if path.exists() and (not path.is_dir() or any(_holds_something(file) for file in path.iterdir())):
            if run.finished:
                raise UserError(f"{path} holds a finished run", remedy="choose another folder with -o")
            begun = (path / "recipe.yaml").is_file()
            remedy = "go on with it with --resume, or choose" if begun else "choose"
            raise UserError(f"{path} is in use", remedy=f"{remedy} another folder with -o")
        return run
    if not (path / "recipe.yaml").is_file():
        raise UserError(f"{path} holds no run to resume", remedy="leave --resume out to start it")
    if run.finished:
        raise UserError(f"{path} holds a finished run", remedy="choose another folder with -o to run it again")
    return run


def _holds_something(path: Path) -> bool:
    """Whether something in a run's folder is of a run that was begun, or not of one at all."""
    return path.name != LOCK and not (path.is_dir() and not any(path.iterdir()))


@contextmanager
def hold(run: RunDir) -> Iterator[None]:
    """Keep other commands out of a run's folder, which is made, while this one writes there.

    The system gives such a lock back when its process ends, killed or not. Raises UserError where another
    command has it, or the folder cannot be made.
    """
    if rank() != 0:
        yield
        return
    lock = FileLock(run.path / LOCK)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{run.path} is being written by another command", remedy="wait for it, or choose another folder with -o"
        ) from None
    except OSError as error:
        raise _unwritable(run, error) from None
    try:
        yield
    finally:
        (run.path / LOCK).unlink(missing_ok=True)  # nobody waits for it: who finds it taken gives up
        lock.release()


def _unwritable(run: RunDir, error: OSError) -> UserError:
    return UserError(f"cannot write to {run.path}: {error.strerror}", remedy="choose another folder with -o")


def start(run: RunDir, recipe_yaml: str, environment: Mapping[str, Any]) -> None:
    """Make the folder, and write down where the run runs and, last, what it is told: a run that has that was begun."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        run.write_json("env.json", environment)
        run.write_text("recipe.yaml", recipe_yaml)
    except OSError as error:
        if run.path.is_dir() and not (run.path / "recipe.yaml").is_file():
            (run.path / "env.json").unlink(missing_ok=True)  # the folder is as it was, for the same command again
        raise _unwritable(run, error) from None
