"""Checkpoints: whole or not at all, and known to be so.

checkpoints/checkpoint-STEP/
  …            as transformers' Trainer writes it: weights, optimizer, schedule, random state
  whole.json   written last, when all else is on the disk: {"seconds": trained so far, "evaluation_due": whether the
               run was stopped before the evaluation of this step was over, "files": {name: SHA-256}}
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import write_whole

SEAL = "whole.json"


def seal(checkpoint: Path, seconds: float, *, evaluation_due: bool = False) -> None:
    """Declare a checkpoint whole: its files reach the disk first, and their hashes are kept."""
    files = {}
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
            files[file.relative_to(checkpoint).as_posix()] = hashlib.file_digest(handle, "sha256").hexdigest()
    content = {"seconds": seconds, "evaluation_due": evaluation_due, "files": files}
    write_whole(checkpoint / SEAL, json.dumps(content, indent=1))


def seconds_of(checkpoint: Path) -> float:
    """Seconds of training until a whole checkpoint was written."""
    return float(json.loads((checkpoint / SEAL).read_text())["seconds"])


def evaluation_due(checkpoint: Path) -> bool:
    """Whether the evaluation of a whole checkpoint's step is still to be made."""
    return bool(json.loads((checkpoint / SEAL).read_text()).get("evaluation_due", False))


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint, or None where there is none.

    One that was cut off while it was written is passed over; one that was damaged afterwards is named, and the
    one before it is taken. Raises UserError where all are damaged.
    """
    damaged = []
    for checkpoint in reversed(_sealed(folder)):
        if not (what := _damage(checkpoint)):
            return checkpoint
        damaged.append(f"{checkpoint} is damaged: {what}")
        warn(damaged[-1])
    if damaged:
        raise UserError(*damaged, remedy="restore one of them from a copy, or start again in another folder with -o")
    return None


def prune(folder: Path, keep: int, best: Path | None) -> None:
    """Remove old checkpoints, and what was cut off, once the newest is whole; the newest and the best stay."""
    whole = _sealed(folder)
    kept = set(whole[-1:]) | {path for path in whole if best is not None and path.name == best.name}
    for checkpoint in reversed(whole):
        if len(kept) < keep:
            kept.add(checkpoint)
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint not in kept:
            # The seal goes first: what is killed here leaves nothing that looks whole.
            (checkpoint / SEAL).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def _sealed(folder: Path) -> list[Path]:
    """Checkpoints that were written to their end, the newest last."""
    found = [file.parent for file in folder.glob(f"checkpoint-*/{SEAL}")]
    return sorted(found, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]))


def _damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint since it was sealed, or nothing."""
    try:
        files: dict[str, str] = json.loads((checkpoint / SEAL).read_text())["files"]
        float(json.loads((checkpoint / SEAL).read_text())["seconds"])
        for name, expected in files.items():
            with (checkpoint / name).open("rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != expected:
                    return f"{name} is not what was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error)
    return ""
