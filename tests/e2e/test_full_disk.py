"""A disk that is full, from any write on: one message, nothing that is half a thing, and the same result afterwards.

Two kinds of full disk. One is simulated where Python opens files, so that every single one of them can be hit; the
other is a small file system of its own, which is full to the libraries too that write without Python.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import PRETRAIN, Material, command, weights

from llmkit.training.checkpoints import newest

SHORT = ["train.max_steps=4", "train.eval_steps=2", "train.logging_steps=1"]


class HalfWritten:
    """A file that takes half of what is written to it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


class Disk:
    """Counts the files that are opened for writing below a folder; from number `full_at` on they take a half."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.full_at: int | None = None
        opened = io.open

        def open_counted(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            handle = opened(file, mode, *rest, **options)
            written = isinstance(file, str | Path) and bool(set(mode) & set("wax+"))
            if not written or root not in Path(file).absolute().parents:
                return handle
            self.names.append(Path(file).name)
            return handle if self.full_at is None or len(self.names) < self.full_at else HalfWritten(handle)

        monkeypatch.setattr(builtins, "open", open_counted)
        monkeypatch.setattr(io, "open", open_counted)

    def reset(self, full_at: int | None = None) -> None:
        self.names, self.full_at = [], full_at


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    return Disk(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def answerer(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned run."""
    folder = tmp_path_factory.mktemp("answerer")
    model = ["-r", "tiny/squad", f"model.pretrained={material.model}", *material.questions]
    command(folder, "finetune", *model, "train.max_steps=2", "-o", "run")
    return folder / "run"


@pytest.fixture
def commands(material: Material, answerer: Path) -> dict[str, list[str]]:
    """Commands that write, by their name."""
    tune = ["-r", "tiny/squad", f"model.pretrained={material.model}", *material.questions]
    return {
        "tokenize": ["tokenize", "-c", str(material.text), "tokenizer.vocab_size=300", "-o", "out"],
        "pretrain": ["pretrain", *PRETRAIN, f"corpus.path={material.shards}", *SHORT, "-o", "out"],
        "finetune": ["finetune", *tune, *SHORT, "-o", "out"],
        "eval": ["eval", str(answerer), "--json", "-o", "out"],
    }


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def result(name: str, folder: Path) -> Any:
    """What has to come out the same."""
    if name == "tokenize":
        return content(folder)
    scores = json.loads((folder / "metrics.json").read_text())
    predictions = (folder / "predictions.jsonl").read_text() if name in ("finetune", "eval") else ""
    return scores, predictions, b"" if name == "eval" else weights(folder)


def check_full(name: str, answer: tuple[int, str, str], folder: Path) -> None:
    """What a command says and leaves where the disk is full."""
    code, out, err = answer
    assert (code, out) == (1, ""), err
    assert f"\n{err}".count("\nerror:") == 1, err
    assert "Traceback" not in err, err
    assert "No space left" in err or "cannot be written: " in err, err
    if name == "tokenize":
        assert not folder.exists()
    assert not (folder / "metrics.json").exists()
    assert not list(folder.glob("model/*.partial"))
    newest(folder / "checkpoints")  # raises where one is there that is not what was written


def check_goes_on(name: str, command: list[str], llmkit: Command, folder: Path) -> None:
    resume = ["--resume"] * (name in ("pretrain", "finetune") and (folder / "recipe.yaml").exists())
    code, _, err = llmkit(*command, *resume)
    assert code == 0, err


def sweep(name: str, command: list[str], llmkit: Command, disk: Disk, tmp_path: Path, step: int) -> int:
    """The command with a disk that is full from file 1, 1 + step, … on; returns how many there are."""
    folder = tmp_path / "out"

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        for left in tmp_path.glob(".out*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    disk.reset()
    code, _, err = llmkit(*command)
    assert code == 0, err
    files, expected = list(disk.names), result(name, folder)
    for number in range(1, len(files) + 1, step):
        clear()
        disk.reset(full_at=number)
        answer = llmkit(*command)
        print(number, files[number - 1], answer[2])
        disk.reset()
        check_full(name, answer, folder)
        check_goes_on(name, command, llmkit, folder)
        assert result(name, folder) == expected
    return len(files)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("tokenize", 3),
        pytest.param("finetune", 9, marks=pytest.mark.slow),
        ("eval", 1),
        pytest.param("tokenize", 1, marks=pytest.mark.slow),
        pytest.param("pretrain", 1, marks=pytest.mark.slow),
        pytest.param("finetune", 1, marks=pytest.mark.slow),
    ],
)
def test_full_from_any_file_on(
    name: str, step: int, commands: dict[str, list[str]], llmkit: Command, disk: Disk, tmp_path: Path
) -> None:
    least = {"tokenize": 8, "pretrain": 20, "finetune": 20, "eval": 2}
    assert sweep(name, commands[name], llmkit, disk, tmp_path, step) >= least[name]


PAGES = 3 * 4096  # bytes more that there is room for, each time


@pytest.fixture
def file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode != 0:
        # Only a superuser may, and not in every container; what Python writes is tested above.
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    monkeypatch.setenv("LLMKIT_CACHE", str(place / "cache"))
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tokenize", "pretrain", "finetune", "eval"])
def test_room_for_so_much_and_no_more(
    name: str, commands: dict[str, list[str]], llmkit: Command, file_system: Path, tmp_path: Path
) -> None:
    """The system itself says so, to libraries that are not in Python too, in the middle of any of their files."""
    folder, filler = file_system / "out", file_system / "filler"
    command = [*commands[name][:-1], str(folder)]
    code, _, err = llmkit(*command)
    assert code == 0, err
    expected = result(name, folder)
    places, room = set(), 0
    while True:
        for path in file_system.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        disk = os.statvfs(file_system)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - room)
        answer = llmkit(*command)
        filler.unlink()
        if answer[0] == 0:
            break
        places.add(answer[2].partition("error:")[2].partition("\n")[0])
        check_full(name, answer, folder)
        check_goes_on(name, command, llmkit, folder)
        assert result(name, folder) == expected
        room += PAGES
    assert result(name, folder) == expected
    print(name, room // PAGES, "times;", *sorted(places), sep="\n  ")
    assert len(places) > 1 + (name in ("pretrain", "finetune"))
