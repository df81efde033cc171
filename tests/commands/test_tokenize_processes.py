"""Tokenizing on several processes: the same bytes however many there are, each chunk made once, whoever is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# As a launcher would, start processes that are told who they are, for each line that is read; one process imports for
# all. Each writes down what it made. Told so, the one that comes to its second chunk first, or all, kill themselves.
DRIVER = """
import json, os, signal, sys, traceback
from pathlib import Path
import datasets, transformers
from llmkit.commands import tokenize as story
from llmkit.cli.main import main
from llmkit.corpus import chunks, encoding, shards, sources

chunks.CHUNK_CHARACTERS, shards.SHARD_TOKENS, encoding.BATCH_CHARACTERS, sources.PART_BYTES = 700, 500, 300, 2000
make, train, made = chunks._write_chunk, story.train_tokenizer, 0

def write(text):
    with Path("made").open("a") as file:
        file.write(text + "\\n")

def first():
    try:
        Path("victim").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def counted(path, documents, *rest):
    global made
    made += 1
    if made == 2 and (victim == "all" or (victim == "one" and first())):
        next(documents)
        os.kill(os.getpid(), signal.SIGKILL)
    make(path, documents, *rest)
    write(path.name)

def trained(*rest, **options):
    write("vocabulary")
    return train(*rest, **options)

chunks._write_chunk, story.train_tokenizer = counted, trained

def work(rank, size, arguments):
    said = os.open("said", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(said, 1), os.dup2(said, 2)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    sys.argv = ["llmkit", "tokenize", *arguments]
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    size, victim, arguments = json.loads(line)
    for left in ("made", "victim", "said"):
        Path(left).unlink(missing_ok=True)
    children = []
    for rank in range(size):
        children.append(os.fork())
        if children[-1] == 0:
            work(rank, size, arguments)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps([codes, Path("made").read_text().splitlines(), Path("said").read_text()]), flush=True)
"""
# Files of all kinds, small ones that are read together and larger ones of several chunks.
SOURCES = ["-c", "books", "-c", "lines.jsonl,weight=2", "-c", "rows.parquet", "-c", "a.txt,documents=blank_line"]


def sentences(number: int, size: int) -> str:
    return " ".join(f"The ship {n} of {number} sails to town {n * number % 7}." for n in range(size))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "books").mkdir()
    for number in range(12):
        (folder / "books" / f"{number:02d}.txt").write_text(sentences(number, 3 * number))
    rows = [{"text": sentences(number, number % 5)} for number in range(150)]
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    (folder / "a.txt").write_text("\n\n".join(sentences(number, number % 4) for number in range(100)))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


Run = Callable[..., tuple[list[int], list[str], str]]


@pytest.fixture(scope="module")
def run(text: Path) -> Iterator[Run]:
    """`run(2, "shards")`: tokenize in processes; returns their exit codes, what they made and what they said."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=text, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stdin, stdout = driver.stdin, driver.stdout
    assert stdin is not None
    assert stdout is not None

    def ask(processes: int, output: str, victim: str = "") -> tuple[list[int], list[str], str]:
        arguments = [*SOURCES, "tokenizer.vocab_size=100", "-o", output]
        stdin.write(json.dumps([processes, victim, arguments]) + "\n")
        stdin.flush()
        codes, made, said = json.loads(stdout.readline())
        return codes, made, said

    with driver:
        yield ask
        stdin.close()


@pytest.fixture(scope="module")
def alone(text: Path, run: Run) -> tuple[dict[str, bytes], list[str]]:
    """What one process makes: the corpus, and of which pieces of work."""
    codes, made, err = run(1, "alone")
    assert codes == [0], err
    assert len(made) > 40
    return content(text / "alone"), made


@pytest.mark.parametrize("processes", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_any_number_of_processes_makes_the_same_bytes(
    processes: int, text: Path, run: Run, alone: tuple[dict[str, bytes], list[str]]
) -> None:
    output = f"shared-{processes}"
    codes, made, err = run(processes, output)
    assert codes == [0] * processes, err
    assert content(text / output) == alone[0]
    assert sorted(made) == sorted(alone[1]), "every chunk once, and one vocabulary"
    assert err.count("training a WordPiece") == err.count("tokenized ") == 1, "one process speaks"
    assert not list(text.glob(f".{output}.*.partial"))


def test_others_make_what_a_killed_process_left(
    text: Path, run: Run, alone: tuple[dict[str, bytes], list[str]]
) -> None:
    codes, made, err = run(3, "survived", victim="one")
    assert sorted(codes) == [-9, 0, 0], err
    assert content(text / "survived") == alone[0]
    assert sorted(made) == sorted(alone[1])


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_all_killed_and_run_again_with_another_number(
    first: int, then: int, text: Path, run: Run, alone: tuple[dict[str, bytes], list[str]]
) -> None:
    output = f"killed-{first}"
    codes, made, _ = run(first, output, victim="all")
    assert codes == [-9] * first
    assert not (text / output).exists()
    assert len(made) == 1 + first
    codes, rest, err = run(then, output)
    assert codes == [0] * then, err
    assert content(text / output) == alone[0]
    assert sorted(made + rest) == sorted(alone[1]), "what was made is not made again"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["-n", "torchrun"])
def test_launched(launcher: str, text: Path, tmp_path: Path) -> None:
    arguments = ["tokenize", *SOURCES, "tokenizer.vocab_size=100", "-o"]
    llmkit = [sys.executable, "-m", "llmkit"]
    if launcher == "-n":
        two = [*llmkit, *arguments, str(tmp_path / "two"), "-n", "2"]
    else:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "llmkit"]
        two = [sys.executable, *torchrun, *arguments, str(tmp_path / "two")]
    done = [
        subprocess.run(command, cwd=text, capture_output=True, text=True, check=False)
        for command in ([*llmkit, *arguments, str(tmp_path / "one")], two)
    ]
    for process, name in zip(done, ("one", "two"), strict=True):
        assert process.returncode == 0, process.stderr
        assert process.stdout.strip() == str(tmp_path / name)
        assert process.stderr.count("tokenized ") == 1
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.slow
def test_a_killed_process_ends_the_command_with_a_message(text: Path, tmp_path: Path) -> None:
    with (tmp_path / "long.jsonl").open("w") as file:
        for number in range(20_000):
            file.write(json.dumps({"text": sentences(number, 8)}) + "\n")
    arguments = [sys.executable, "-m", "llmkit", "tokenize", "-c", "long.jsonl", "tokenizer.vocab_size=200"]
    command = psutil.Popen(
        [*arguments, "-o", "shards", "-n", "2"], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".shards.*.partial/key.json")):
        assert command.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim = next(child for child in command.children(recursive=True) if child.environ().get("RANK") == "1")
    victim.kill()
    _, err = command.communicate(timeout=120)
    assert command.returncode == 128 + 9
    assert b"error: process 1 of 2 (counting from 0) was killed by SIGKILL" in err
    assert b"continue with the same command" in err
    assert err.count(b"error:") == 1
    assert b"Traceback" not in err
    assert not (tmp_path / "shards").exists()
    done = subprocess.run([*arguments, "-o", "shards"], cwd=tmp_path, check=False, env=os.environ)
    assert done.returncode == 0
    assert (tmp_path / "shards" / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_bad_line_is_one_message(processes: str, text: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text((text / "lines.jsonl").read_text() + '{"txt": ""}\n')
    command = [sys.executable, "-m", "llmkit", "tokenize", "-c", "bad.jsonl", "tokenizer.vocab_size=200"]
    done = subprocess.run(
        [*command, "-o", "shards", "-n", processes], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "bad.jsonl:151 has no column 'text'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "shards").exists()
