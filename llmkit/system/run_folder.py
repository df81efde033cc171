"""The run directory: the contract between commands.

    runs/NAME/
      recipe.yaml   with all defaults filled in: running it again repeats the run
      env.json      versions, hardware, processes, data fingerprints, command line
      log.jsonl     one line per logging step and evaluation
      checkpoints/  for --resume
      trackers/     what finds the run again in trackers, and files of theirs
      model/        loads with AutoModel….from_pretrained, without llmkit; llmkit.json says what it is for
      metrics.json  scores; written last, so its presence marks a finished run
      predictions.jsonl
      audit.json    what `llmkit audit` found, part by part

Files are written atomically, by one process.
"""

from __future__ import annotations

import fcntl
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
Threshold = float | dict[str, float]  # a null threshold, or one for each label
AUDIT = "audit.json"
NOT_A_RUN = "give a run directory that llmkit wrote"


@dataclass(frozen=True)
class RunDir:
    """A run directory."""

    path: Path

    @property
    def model(self) -> Path:
        """The finished model and its tokenizer."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints to resume from."""
        return self.path / "checkpoints"

    @property
    def started(self) -> bool:
        """Whether the run started."""
        return (self.path / "recipe.yaml").is_file()

    @property
    def finished(self) -> bool:
        """Whether the run finished."""
        return (self.path / "metrics.json").is_file()

    def recipe(self) -> dict[str, Any]:
        """The run's recipe as plain values. Raises UserError if there is none."""
        path = self.path / "recipe.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            what = " ".join(str(error).split())
            raise UserError(f"{path}: not readable as a run's recipe: {what}", remedy=NOT_A_RUN) from None
        if not isinstance(values, dict):
            raise UserError(f"{path}: not a run's recipe", remedy=NOT_A_RUN)
        return values

    def environment(self) -> dict[str, Any]:
        """The content of env.json. Raises UserError if it is missing or damaged."""
        path = self.path / "env.json"
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if missing := [key for key in ("data", "processes") if key not in values]:
                raise ValueError(f"no {missing[0]}")
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable: {error}", remedy="start the run again, in another folder") from None
        return values

    def null_threshold(self) -> Threshold | None:
        """What the run's evaluation tuned: the null score above which its model abstains, or the probabilities above
        which it gives each label; None if nothing was.

        Raises UserError if metrics.json is damaged.
        """
        if not self.finished:
            return None
        path = self.path / "metrics.json"
        try:
            return null_threshold_of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}", remedy="evaluate the run's model/ folder itself") from None

    def log_rows(self) -> list[dict[str, Any]]:
        """The rows of log.jsonl, without a truncated line. Empty if nothing was logged yet."""
        path = self.path / "log.jsonl"
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            with suppress(ValueError):  # of a run that was killed while it wrote, or that is writing
                rows.append(json.loads(line))
        return rows

    def scores_of_start(self) -> dict[str, float]:
        """The scores before the first step. Empty if the start was not evaluated."""
        for record in self.log_rows():
            if record["step"] == 0 and "eval_loss" in record:
                return {name.removeprefix("eval_"): value for name, value in record.items() if name.startswith("eval_")}
        return {}

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run atomically."""
        write_whole(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the run atomically, as JSON."""
        self.write_text(name, to_json(value))

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a file of the run atomically, one JSON document per line."""
        self.write_text(name, to_json_lines(rows))

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to log.jsonl."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def trim_log(self, step: int) -> None:
        """Remove what was logged after a step, and any truncated line, before the run resumes from that step."""
        path = self.path / "log.jsonl"
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            with suppress(ValueError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        self.write_text("log.jsonl", "".join(kept))


def null_threshold_of(scores: Mapping[str, Any]) -> Threshold | None:
    """The null threshold, or the threshold of each label, that an evaluation tuned; None if the task has none."""
    tuned = scores.get("tuned")
    if not tuned:
        return None
    return dict(tuned["thresholds"]) if "thresholds" in tuned else float(tuned["null_threshold"])


def open_run(path: Path, *, resume: bool, longer: bool = False) -> RunDir:
    """The directory of a new run or, with `resume`, of one that has `started`. Only reads; `start` writes.

    A finished run is only opened to become `longer`. Raises UserError if the folder is in use.
    """
    run = RunDir(path)
    if run.finished and not longer:
        raise UserError(f"{path} holds a finished run", remedy="choose another folder with -o to run it again")
    if run.started:
        if not resume:
            raise UserError(f"{path} is in use", remedy="resume it with --resume, or choose another folder with -o")
    elif path.exists() and (not path.is_dir() or any(_is_content(file) for file in path.iterdir())):
        raise UserError(f"{path} is in use", remedy="choose another folder with -o")
    return run


def _is_content(path: Path) -> bool:
    """Whether a file in the folder of no run belongs to something else.

    Locks, empty folders, and what a run leaves that is killed while it starts do not.
    """
    if path.is_dir():
        return any(path.iterdir())
    if path.name == "env.json":
        try:
            RunDir(path.parent).environment()
        except UserError:
            return True  # somebody else's
        return False
    partial = path.name.startswith((".env.json.", ".recipe.yaml.")) and path.suffix == ".partial"
    return path.name != LOCK and not partial


@contextmanager
def hold(run: RunDir) -> Iterator[None]:
    """Create the run directory and lock it while this command writes to it.

    The system releases the lock when the process exits, even if it is killed. Raises UserError if another command
    holds the lock, or if the folder cannot be created.
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
        (run.path / LOCK).unlink(missing_ok=True)  # safe: no other command waits for the lock
        lock.release()


def is_held(run: RunDir) -> bool:
    """Whether a command is writing to the run. Writes nothing, so a folder of others can be asked too."""
    try:
        with (run.path / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # what FileLock holds is exclusive
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _unwritable(run: RunDir, error: OSError) -> UserError:
    return UserError(f"cannot write to {run.path}: {error.strerror}", remedy="choose another folder with -o")


def start(run: RunDir, recipe_yaml: str, environment: Mapping[str, Any]) -> None:
    """Create the folder with env.json, then recipe.yaml, which marks the run as started."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        run.write_json("env.json", environment)
        run.write_text("recipe.yaml", recipe_yaml)
    except OSError as error:
        if run.path.is_dir() and not (run.path / "recipe.yaml").is_file():
            (run.path / "env.json").unlink(missing_ok=True)  # so that the same command can be rerun
        raise _unwritable(run, error) from None
