"""Which checkpoint a run goes on from: the newest that is what was written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.system.errors import UserError
from llmkit.training.checkpoints import SEAL, last_stable, newest, prune, seal, seconds_of


def write(folder: Path, step: int, *, whole: bool = True, stable: bool = False, best: int | None = None) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights of %d" % step)
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    if whole:
        seal(checkpoint, seconds=step / 2, stable=stable, best=folder / f"checkpoint-{best}" if best else None)
    return checkpoint


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.iterdir())


def test_one_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") is None
    write(tmp_path, 30, whole=False)
    assert newest(tmp_path) is None
    ten = write(tmp_path, 10)
    write(tmp_path, 9)
    assert newest(tmp_path) == ten
    assert seconds_of(ten) == 5.0


DAMAGES: dict[str, Callable[[Path], object]] = {
    "model.safetensors does not match its hash": lambda c: (c / "model.safetensors").write_bytes(b"weights"),
    "optimizer.pt does not match its hash": lambda c: (c / "optimizer.pt").write_bytes(b""),
    "optimizer.pt is missing": lambda c: (c / "optimizer.pt").unlink(),
    "Expecting": lambda c: (c / SEAL).write_text(""),
    "'files'": lambda c: (c / SEAL).write_text("{}"),
    "list": lambda c: (c / SEAL).write_text("[]"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_it_taken(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, damaged = write(tmp_path, 1), write(tmp_path, 2)
    DAMAGES[what](damaged)
    assert newest(tmp_path) == before
    said = capsys.readouterr().err
    assert f"warning: {damaged} is damaged: " in said
    assert what in said
    shutil.rmtree(before)
    with pytest.raises(UserError, match="is damaged"):
        newest(tmp_path)


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    write(tmp_path, 4, whole=False)
    prune(tmp_path, 3, tmp_path / "checkpoint-1")
    assert steps(tmp_path) == [1, 2, 3], "what was cut off goes"
    prune(tmp_path, 2, tmp_path / "checkpoint-1")
    assert steps(tmp_path) == [1, 3]
    prune(tmp_path, 1, tmp_path / "checkpoint-1")
    assert steps(tmp_path) == [1, 3]
    prune(tmp_path, 1, None)
    assert steps(tmp_path) == [3]


def test_what_a_longer_run_needs_stays(tmp_path: Path) -> None:
    for step, stable in ((1, True), (2, True), (3, True), (4, True), (5, False), (6, False)):
        write(tmp_path, step, stable=stable, best=2 if step > 1 else None)
    assert last_stable(tmp_path) == tmp_path / "checkpoint-4"
    prune(tmp_path, 1, tmp_path / "checkpoint-5")
    assert steps(tmp_path) == [2, 4, 5, 6]
    (tmp_path / "checkpoint-4" / "model.safetensors").unlink()
    prune(tmp_path, 1, tmp_path / "checkpoint-5")
    assert steps(tmp_path) == [2, 4, 5, 6], "damage stops no run that saves"
    (tmp_path / "checkpoint-4" / SEAL).write_text("")
    assert last_stable(tmp_path) == tmp_path / "checkpoint-2"


@settings(max_examples=30)  # each writes files
@given(st.lists(st.integers(1, 10**7), unique=True, max_size=6), st.integers(1, 4), st.integers(0, 5))
def test_pruning_keeps_what_was_asked_for(found: list[int], keep: int, best: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in found:
            write(folder, step)
        chosen = folder / f"checkpoint-{found[best]}" if best < len(found) else None
        prune(folder, keep, chosen)
        left = steps(folder)
        assert set(sorted(found)[-1:]) <= set(left)
        assert chosen is None or chosen.is_dir()
        assert min(keep, len(found)) <= len(left) <= max(keep, 2)
