"""Checkpoints are sealed: complete, and verifiable.

checkpoints/checkpoint-STEP/
  …            as transformers' Trainer writes it: weights, optimizer, scheduler, random state
  whole.json   the seal, written last, after all files are synced: {"seconds": of training so far, "evaluation_due":
               whether the run was stopped before this step's evaluation finished, "processes": that wrote it,
               "files": {name: SHA-256}}
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


def seal(checkpoint: Path, seconds: float, *, evaluation_due: bool = False, processes: int = 1) -> None:
    """Sync a checkpoint's files to disk, then write their hashes into its seal."""
    files = {}
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
            files[file.relative_to(checkpoint).as_posix()] = hashlib.file_digest(handle, "sha256").hexdigest()
    content = {"seconds": seconds, "evaluation_due": evaluation_due, "processes": processes, "files": files}
    write_whole(checkpoint / SEAL, json.dumps(content, indent=1))


def seconds_of(checkpoint: Path) -> float:
    """Seconds of training up to a sealed checkpoint."""
    return float(json.loads((checkpoint / SEAL).read_text())["seconds"])


def evaluation_due(checkpoint: Path) -> bool:
    """Whether the evaluation of a sealed checkpoint's step is still due."""
    return bool(json.loads((checkpoint / SEAL).read_text()).get("evaluation_due", False))


def processes_of(checkpoint: Path) -> int | None:
    """The number of processes that wrote a sealed checkpoint. None if an older llmkit did, which does not say."""
    number: int | None = json.loads((checkpoint / SEAL).read_text()).get("processes")
    return number


def newest(folder: Path) -> Path | None:
    """The newest intact checkpoint, or None if there is none.

    Unsealed checkpoints are ignored. Damaged ones cause a warning and a fallback to the one before. Raises UserError
    if all sealed checkpoints are damaged.
    """
    damaged = []
    for checkpoint in reversed(_sealed(folder)):
        if not (damage := _damage(checkpoint)):
            return checkpoint
        damaged.append(f"{checkpoint} is damaged: {damage}")
        warn(damaged[-1])
    if damaged:
        raise UserError(*damaged, remedy="restore one of them from a backup, or start again in another folder with -o")
    return None


def prune(folder: Path, keep: int, best: Path | None) -> None:
    """Remove unsealed checkpoints, and all but `keep` sealed ones; the newest and the best always stay."""
    sealed = _sealed(folder)
    kept = set(sealed[-1:]) | {path for path in sealed if best is not None and path.name == best.name}
    for checkpoint in reversed(sealed):
        if len(kept) < keep:
            kept.add(checkpoint)
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint not in kept:
            # Remove the seal first: if we are killed here, nothing must look complete.
            (checkpoint / SEAL).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def _sealed(folder: Path) -> list[Path]:
    """Sealed checkpoints, newest last."""
    found = [file.parent for file in folder.glob(f"checkpoint-*/{SEAL}")]
    return sorted(found, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]))


def _damage(checkpoint: Path) -> str:
    """What has changed in a checkpoint since it was sealed; empty if it is intact."""
    try:
        files: dict[str, str] = json.loads((checkpoint / SEAL).read_text())["files"]
        float(json.loads((checkpoint / SEAL).read_text())["seconds"])
        for name, expected in files.items():
            with (checkpoint / name).open("rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != expected:
                    return f"{name} does not match its hash"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error)
    return ""
