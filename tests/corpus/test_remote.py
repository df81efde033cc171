"""Text from elsewhere, by URL: the documents and shards of the same files here, and one message for what goes wrong."""

from __future__ import annotations

import errno
import gzip
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from support import Command

from llmkit.corpus.shards import read_manifest
from llmkit.corpus.sources import open_source
from llmkit.recipes.corpus import Source
from llmkit.system import remote
from llmkit.system.errors import UserError

pytestmark = pytest.mark.oldest

TEXTS = {
    "a.txt": b"one ship\ntwo ships\n",
    "b.jsonl": b'{"text": "three ships"}\n',
    "deep/c.txt.gz": gzip.compress(b"four ships\n"),
    "deep/d.bin": b"\0",
    ".hidden/e.txt": b"never",
}


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder of a file system that fsspec keeps in memory, as a bucket."""
    system = fsspec.filesystem("memory")
    for name, content in TEXTS.items():
        system.pipe(f"/bucket/{name}", content)
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


class _Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - of all requests

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server with the same files."""
    for name, content in TEXTS.items():
        (tmp_path / "web" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "web" / name).write_bytes(content)

    def handler(*arguments: Any) -> _Quiet:
        return _Quiet(*arguments, directory=str(tmp_path / "web"))

    _Quiet.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def documents(path: str, **options: Any) -> list[str]:
    return [text for text in open_source(Source(path=path, **options)).documents() if text.strip()]


def test_a_folder_a_glob_and_a_file(memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert documents(memory) == ["one ship\ntwo ships\n", "three ships", "four ships\n"]
    assert "memory://bucket: passed over 1 file: .bin (1)" in capsys.readouterr().err
    assert documents(f"{memory}/*.jsonl") == ["three ships"]
    assert documents(f"{memory}/**/*.gz") == ["four ships\n"]
    assert documents(f"{memory}/a.txt", documents="line") == ["one ship\n", "two ships\n"]
    assert "documents=file makes the whole file one" not in capsys.readouterr().err


def test_from_the_web_once(web: str) -> None:
    assert documents(f"{web}/a.txt") == ["one ship\n", "two ships\n"]
    assert documents(f"{web}/deep/c.txt.gz?token=x") == ["four ships\n"]
    assert documents(f"{web}/a.txt") == ["one ship\n", "two ships\n"]
    assert _Quiet.asked.count("/a.txt") <= 1, "the second time it is in the cache"


def test_what_the_web_changed_is_read_anew(web: str, tmp_path: Path) -> None:
    """Also if its size is the same."""
    assert documents(f"{web}/b.jsonl") == ["three ships"]
    (tmp_path / "web" / "b.jsonl").write_bytes(TEXTS["b.jsonl"].replace(b"three", b"seven"))
    os.utime(tmp_path / "web" / "b.jsonl", (1e9, 1e9))
    assert documents(f"{web}/b.jsonl") == ["seven ships"]


def test_a_server_that_tells_no_version(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    send = _Quiet.send_header
    silent = lambda self, name, value: None if name == "Last-Modified" else send(self, name, value)  # noqa: E731
    monkeypatch.setattr(_Quiet, "send_header", silent)
    (first,) = open_source(Source(path=f"{web}/b.jsonl")).files
    (same,) = open_source(Source(path=f"{web}/b.jsonl")).files
    assert first == same
    said = "b.jsonl: nothing tells whether it has changed, so it is downloaded each time\n"
    assert capsys.readouterr().err.count(said) == 2
    (tmp_path / "web" / "b.jsonl").write_bytes(TEXTS["b.jsonl"].replace(b"three", b"seven"))
    assert documents(f"{web}/b.jsonl") == ["seven ships"]
    assert first.read_bytes() == TEXTS["b.jsonl"], "nothing that another command reads is replaced"


def test_the_shards_are_those_of_files_here(memory: str, llmkit: Command, tmp_path: Path) -> None:
    for name, content in TEXTS.items():
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_bytes(content)
    for source, output in ((memory, "there"), (tmp_path / "here", "shards")):
        code, _, err = llmkit("tokenize", "-c", str(source), "-o", str(tmp_path / output), "tokenizer.vocab_size=100")
        assert code == 0, err
    one, other = (read_manifest(tmp_path / name) for name in ("there", "shards"))
    assert one["key"] == other["key"]
    assert one["sources"][0]["path"] == memory
    for file in (tmp_path / "shards").glob("*.arrow"):
        assert (tmp_path / "there" / file.name).read_bytes() == file.read_bytes()


def test_a_file_that_was_written_anew_is_read_anew(memory: str) -> None:
    assert documents(f"{memory}/b.jsonl") == ["three ships"]
    fsspec.filesystem("memory").pipe("/bucket/b.jsonl", TEXTS["b.jsonl"].replace(b"three", b"seven"))
    assert documents(f"{memory}/b.jsonl") == ["seven ships"]


def test_a_transfer_that_breaks_leaves_nothing_half(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = type(fsspec.filesystem("memory"))
    whole = system.get_file

    def broken(self: Any, path: str, to: str, **_: Any) -> None:
        Path(to).write_bytes(b"one s")
        raise OSError("connection reset by peer")

    monkeypatch.setattr(system, "get_file", broken)
    with pytest.raises(UserError, match=r"bucket/a\.txt cannot be read: connection reset by peer") as caught:
        documents(f"{memory}/a.txt")
    assert "the same command goes on" in str(caught.value.remedy)
    monkeypatch.setattr(system, "get_file", whole)
    assert documents(f"{memory}/a.txt", documents="file") == ["one ship\ntwo ships\n"]


def test_a_full_disk_is_not_blamed_on_the_connection(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, path: str, to: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", to)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device") as caught:
        documents(f"{memory}/b.jsonl")
    assert "LLMKIT_CACHE" in str(caught.value.remedy)


def test_a_bucket_that_refuses_is_not_a_disk_that_does(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, path: str, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Access Denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "isdir", refuse)
    with pytest.raises(UserError, match=r"memory://bucket cannot be read: .*Access Denied") as caught:
        documents(memory)
    assert "your access" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("url", "message", "remedy"),
    [
        ("memory://bucket/none.txt", "memory://bucket/none.txt: no such file or folder", "check the path"),
        ("memory://bucket/*.csv", "memory://bucket/*.csv: no files there", "check the path"),
        ("memory://bucket/deep/d.bin", "memory://bucket/deep/d.bin has no file in a supported format", "give one of"),
        ("nosuch://bucket/a.txt", "nosuch://bucket/a.txt: Protocol not known: nosuch", "give a URL such as https://"),
        ("http://127.0.0.1:9/none.txt", "http://127.0.0.1:9/none.txt cannot be read: ", "check the connection"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_one_message_for_what_goes_wrong(url: str, message: str, remedy: str) -> None:
    with pytest.raises(UserError) as caught:
        documents(url)
    assert message in str(caught.value)
    assert remedy in str(caught.value.remedy)


def test_a_file_system_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(UserError, match="Install s3fs to access S3") as caught:
        remote.found_at("s3://bucket/a.txt")
    assert caught.value.remedy == "pip install s3fs"


def test_nothing_is_there(web: str) -> None:
    with pytest.raises(UserError, match=r"none\.txt: no such file or folder"):
        documents(f"{web}/none.txt")


def test_what_files_do_not_have_is_refused(memory: str) -> None:
    with pytest.raises(UserError, match="split has no effect on files"):
        documents(f"{memory}/a.txt", split="test")
