"""Prepared data: built once, found again, gone on with after a kill."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.system.cache import built_once, cache_folder, cached, cached_folder, file_fingerprint, fingerprint
from llmkit.system.errors import UserError

pytestmark = pytest.mark.oldest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def is_whole(folder: Path) -> bool:
    return (folder / "done").is_file()


def counted(aside: Path) -> None:
    """A build that leaves a trace of every call, and of every process that was inside it."""
    with (aside.parent / "calls").open("a") as calls:
        calls.write(f"{os.getpid()}\n")
    (aside / "data").write_text("content")
    (aside / "done").touch()


def build_at_the_same_time(folder: Path, barrier: Any, results: Any) -> None:
    barrier.wait()
    results.put((str(built_once(folder, counted, is_whole=is_whole)), (folder / "data").read_text()))


def die_in_the_middle(folder: Path) -> None:
    def build(aside: Path) -> None:
        (aside / "first-half").write_text("1")
        os._exit(9)  # as a kill would: no handler runs, nothing is cleaned up

    built_once(folder, build, is_whole=is_whole)


def test_several_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    folder = tmp_path / "deep" / "folder"
    workers = [context.Process(target=build_at_the_same_time, args=(folder, barrier, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert found == [(str(folder), "content")] * 4
    assert len((tmp_path / "deep" / "calls").read_text().splitlines()) == 1


def test_what_is_there_is_not_built(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for _ in range(2):
        assert built_once(folder, counted, is_whole=is_whole) == folder
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    assert not list(tmp_path.glob(".*.partial"))


def test_a_killed_build_is_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    worker = multiprocessing.get_context("fork").Process(target=die_in_the_middle, args=(folder,))
    worker.start()
    worker.join()
    assert worker.exitcode == 9
    assert not folder.exists(), "nothing half-built has the name"

    def build(aside: Path) -> None:
        assert (aside / "first-half").read_text() == "1"
        (aside / "done").touch()

    built_once(folder, build, is_whole=is_whole)
    assert sorted(path.name for path in folder.iterdir()) == ["done", "first-half"]


def test_a_build_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        raise UserError("bad row", remedy="correct it")

    with pytest.raises(UserError, match="bad row"):
        built_once(tmp_path / "folder", fail, is_whole=is_whole)
    assert not (tmp_path / "folder").exists()
    built_once(tmp_path / "folder", counted, is_whole=is_whole)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    built_once(tmp_path / "folder", counted, is_whole=is_whole)
    assert is_whole(tmp_path / "folder")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_place_that_cannot_be_written(tmp_path: Path, number: int) -> None:
    def fail(aside: Path) -> None:
        raise OSError(number, os.strerror(number), str(aside / "data"))

    with pytest.raises(UserError, match="cannot write") as caught:
        built_once(tmp_path / "folder", fail, is_whole=is_whole)
    assert os.strerror(number) in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "LLMKIT_CACHE" in caught.value.remedy


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write") as caught:
        built_once(tmp_path / "file" / "folder", counted, is_whole=is_whole)
    assert "LLMKIT_CACHE" in caught.value.remedy


def test_another_error_is_a_bug(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        built_once(tmp_path / "folder", fail, is_whole=is_whole)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=5), st.randoms())
def test_a_fingerprint_does_not_depend_on_order(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(value)
    assert fingerprint({**value, "one more": 1}) != fingerprint(value)


def test_fingerprints_stay_what_they_were() -> None:
    """What was prepared yesterday, on another machine, is found again."""
    assert fingerprint({"a": [1, 2.5, None, "é"], "b": {"c": True}}) == "3fc74b619d1ebb13c677"
    assert fingerprint({"b": {"c": True}, "a": [1, 2.5, None, "é"]}) == "3fc74b619d1ebb13c677"


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "b").write_bytes(b"text")
    assert file_fingerprint(tmp_path / "a") == file_fingerprint(tmp_path / "b") == "982d9e3eb996f559e633"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"LLMKIT_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/llmkit"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/llmkit"),
        ({"LLMKIT_CACHE": "", "HOME": "/h"}, "/h/.cache/llmkit"),
    ],
)
def test_where_it_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str) -> None:
    for name in ("LLMKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def keep(key: dict[str, Any]) -> Callable[[Path], None]:
    """A builder of work that `key` decides."""

    def build(aside: Path) -> None:
        (aside / "manifest.json").write_text(json.dumps({"key": key}))

    return build


def test_a_miss_says_what_one_thing_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))
    made = {"options": {"max_length": 384, "doc_stride": 128}, "examples": "abc"}
    cached("features", made, keep(made))
    damaged = tmp_path / "features" / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")
    assert capsys.readouterr().err == ""
    other = {"options": {"max_length": 384, "doc_stride": 64}, "examples": "abc"}
    cached("features", other, keep(other))
    assert capsys.readouterr().err == "cached features do not match: options.doc_stride was 128, is 64\n"
    cached("features", other, keep(other))
    another = {"options": {"max_length": 128, "doc_stride": 32}, "examples": "def"}
    cached("features", another, keep(another))
    assert capsys.readouterr().err == ""


def test_what_lost_a_part_of_itself_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))
    key = {"a": 1}
    (cached("features", key, keep(key)) / "manifest.json").unlink()
    (cached_folder("features", key) / "rest").touch()
    assert [path.name for path in cached("features", key, keep(key)).iterdir()] == ["manifest.json"]
