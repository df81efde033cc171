"""`llmkit predict`: rows in, predictions out, the same whatever happens on the way."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from support import Command
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

from llmkit import api
from llmkit.commands import predict as story
from llmkit.models.checkpoint import Checkpoint
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.partial_file import PartialFile
from llmkit.tasks.inference import Reader

LETTERS = "abcdefghijklmnopqrstuvwxyz.?"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
WINDOWS: dict[str, Any] = {"max_length": 80, "doc_stride": 8, "max_answer_length": 12}
TOTAL = 30


def rows() -> list[dict[str, Any]]:
    """Questions on passages of different lengths, some of more than one window."""
    found = []
    for n in range(TOTAL):
        context = f"{'abc def ' * (n % 5 * 2)}tom reed founded {LETTERS[n % 26]}mbury {'in the end ' * (n % 3)}."
        answers = {"text": ["tom reed"], "answer_start": [context.index("tom")]}
        if n % 4 == 0:
            answers = {"text": [], "answer_start": []}
        found.append({"id": f"q{n}", "context": context, "question": "who?", "answers": answers})
    return found


def write(file: Path, values: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of squad_v2 that has tuned a null threshold, and the data it was evaluated on."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        max_position_embeddings=80,
        initializer_range=0.5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    write(folder / "rows.jsonl", rows())
    for name in ("run", "other"):
        (folder / name).mkdir()
        data = {"validation": str(folder / "rows.jsonl"), **WINDOWS}
        (folder / name / "recipe.yaml").write_text(json.dumps({"name": "x", "task": "squad_v2", "data": data}))
        (folder / name / "metrics.json").write_text(json.dumps({"tuned": {"null_threshold": -6.5}}))
        BertForQuestionAnswering(config).save_pretrained(folder / name / "model")
        BertTokenizer(vocab={t: n for n, t in enumerate(VOCABULARY)}).save_pretrained(folder / name / "model")
    return folder


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four chunks."""
    monkeypatch.setattr(story, "CHUNK_EXAMPLES", 8)


def predicted(llmkit: Command, *arguments: str | Path) -> str:
    """What a command says on the way to its predictions."""
    code, out, err = llmkit("predict", *map(str, arguments))
    assert code == 0, err
    assert out == f"{arguments[-1]}\n"
    return err


def left(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name.startswith("."))


def test_they_are_those_of_the_evaluation(material: Path, llmkit: Command, tmp_path: Path) -> None:
    """Byte for byte, where one chunk holds all rows; and they score alike."""
    run, data = material / "run", material / "rows.jsonl"
    code, out, err = llmkit("eval", str(run), "-o", "scored", "--json")
    assert code == 0, err
    told = predicted(llmkit, run, data, "-o", "new/p.jsonl")
    assert "BertForQuestionAnswering, 1 × 16" in told
    assert f"{TOTAL} questions in " in told
    assert (tmp_path / "new" / "p.jsonl").read_bytes() == (tmp_path / "scored" / "predictions.jsonl").read_bytes()
    assert left(tmp_path / "new") == []
    texts = [line["text"] for line in lines(tmp_path / "new" / "p.jsonl")]
    assert "" in texts, "at the threshold of the run"
    assert any(texts)
    found = llmkit("eval", "--predictions", "new/p.jsonl", "--data", str(data), "--task", "squad_v2", "--json")
    assert json.loads(found[1]) == json.loads(out)


@pytest.mark.slow
def test_the_demos_own_questions(material: Path, llmkit: Command, tmp_path: Path) -> None:
    predicted(llmkit, material / "run", "demo", "-o", "p.jsonl")
    assert len(lines(tmp_path / "p.jsonl")) == 500


def test_chunks_change_nothing_but_the_last_digits(
    material: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted(llmkit, material / "run", material / "rows.jsonl", "-o", "one.jsonl")
    monkeypatch.setattr(story, "CHUNK_EXAMPLES", 8)
    predicted(llmkit, material / "run", material / "rows.jsonl", "-o", "four.jsonl")
    for one, four in zip(lines(tmp_path / "one.jsonl"), lines(tmp_path / "four.jsonl"), strict=True):
        for name in ("id", "text", "start", "end"):
            assert one[name] == four[name]
        assert one["score"] == pytest.approx(four["score"], abs=1e-5)
        assert one["null_score"] == pytest.approx(four["null_score"], abs=1e-4)


def test_a_chunk_is_bounded_in_rows_and_in_characters(
    material: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(self: Reader, examples: Any, advance: Any) -> Any:
        sizes.append(len(examples))
        return answer(self, examples, advance)

    answer = Reader.__call__
    monkeypatch.setattr(Reader, "__call__", counted)
    monkeypatch.setattr(story, "CHUNK_EXAMPLES", 8)
    predicted(llmkit, material / "run", material / "rows.jsonl", "-o", "rows.jsonl")
    assert sizes == [8, 8, 8, 6]
    sizes.clear()
    monkeypatch.setattr(story, "CHUNK_CHARACTERS", 300)
    predicted(llmkit, material / "run", material / "rows.jsonl", "-o", "characters.jsonl")
    assert sum(sizes) == TOTAL
    assert max(sizes) < 8


# In the middle of writing the third chunk, half of which is on the disk.
KILLED = """
import os, signal, sys
from llmkit.commands import predict as story
from llmkit.models.checkpoint import Checkpoint
from llmkit.cli.main import main
from llmkit.system.partial_file import PartialFile

def append(self, text, key, parts):
    if parts["examples"] == 24:
        with self._partial.open("a") as file:
            file.write(text[: len(text) // 2])
            file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, text, key, parts)

whole, PartialFile.append = PartialFile.append, append
story.CHUNK_EXAMPLES = 8
main()
"""


@pytest.mark.usefixtures("chunked")
@pytest.mark.slow
def test_killed_and_gone_on_with_it_is_the_same_bytes(
    material: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(material / "run"), str(material / "rows.jsonl"), "-o"]
    predicted(llmkit, *arguments, "whole.jsonl")
    command = [sys.executable, "-c", KILLED, "predict", *arguments, "p.jsonl"]
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "p.jsonl").exists()
    assert left(tmp_path) == [".p.jsonl.lock", ".p.jsonl.partial", ".p.jsonl.partial.json"]
    whole_chunks = json.loads((tmp_path / ".p.jsonl.partial.json").read_text())["size"]
    assert (tmp_path / ".p.jsonl.partial").stat().st_size > whole_chunks, "and half of one"

    again: list[int] = []
    answer = Reader.__call__
    monkeypatch.setattr(Reader, "__call__", lambda *a: (again.append(len(a[1])), answer(*a))[1])
    assert "continuing after the 16 questions that are done" in predicted(llmkit, *arguments, "p.jsonl")
    assert again == [8, 6], "what was done is not done again"
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert left(tmp_path) == []


def stopped(llmkit: Command, at: int, *arguments: str | Path) -> None:
    """Ctrl-C when so many rows are done."""

    def append(self: PartialFile, text: str, key: Any, parts: Any) -> None:
        whole(self, text, key, parts)
        if parts["examples"] == at:
            raise KeyboardInterrupt

    whole = PartialFile.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartialFile, "append", append)
        code, _, err = llmkit("predict", *map(str, arguments))
    assert code == 130
    assert "predict with the same command" in err


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("at", [8, TOTAL])
def test_stopped_after_the_first_chunk_or_the_last(at: int, material: Path, llmkit: Command, tmp_path: Path) -> None:
    arguments = [material / "run", material / "rows.jsonl", "-o"]
    predicted(llmkit, *arguments, "whole.jsonl")
    stopped(llmkit, at, *arguments, "p.jsonl")
    assert not (tmp_path / "p.jsonl").exists()
    assert f"continuing after the {at} questions that are done" in predicted(llmkit, *arguments, "p.jsonl")
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.usefixtures("chunked")
def test_what_was_begun_otherwise_is_begun_again_aloud(
    material: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model, another threshold, other rows, or lines that were lost: nothing of it is mixed in."""
    write(tmp_path / "rows.jsonl", rows())
    arguments = [material / "run", "rows.jsonl", "-o"]
    predicted(llmkit, *arguments, "whole.jsonl")

    stopped(llmkit, 16, material / "other", "rows.jsonl", "-o", "model.jsonl")
    assert "model.jsonl was started with other settings or rows, starting over: model was " in predicted(
        llmkit, *arguments, "model.jsonl"
    )

    write(tmp_path / "rows.jsonl", [{**row, "question": "where?"} if row["id"] == "q3" else row for row in rows()])
    stopped(llmkit, 16, *arguments, "rows-changed.jsonl")
    write(tmp_path / "rows.jsonl", rows())
    told = predicted(llmkit, *arguments, "rows-changed.jsonl")
    assert "starting over: rows.jsonl has changed in its first 16 questions" in told

    stopped(llmkit, 16, *arguments, "lost.jsonl")
    (tmp_path / ".lost.jsonl.partial").write_text("")
    assert "continuing" not in predicted(llmkit, *arguments, "lost.jsonl")

    metrics = material / "run" / "metrics.json"
    before = metrics.read_text()
    metrics.write_text(json.dumps({"tuned": {"null_threshold": 5.0}}))
    stopped(llmkit, 16, *arguments, "threshold.jsonl")
    metrics.write_text(before)
    told = predicted(llmkit, *arguments, "threshold.jsonl")
    assert "starting over: null_threshold was 5.0, is -6.5" in told
    for name in ("model", "rows-changed", "lost", "threshold"):
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.usefixtures("chunked")
def test_a_row_that_cannot_be_read_is_corrected_and_the_rest_kept(
    material: Path, llmkit: Command, tmp_path: Path
) -> None:
    """How many tokens a question takes is known when it is reached, and not before."""
    write(tmp_path / "rows.jsonl", [*rows()[:20], {**rows()[20], "question": "who " * 30}, *rows()[21:]])
    arguments = [material / "run", "rows.jsonl", "-o", "p.jsonl"]
    code, out, err = llmkit("predict", *map(str, arguments))
    assert (code, out) == (1, "")
    assert "example q20: its question takes 90 tokens" in err
    assert "the same command then continues after the 16 that are done" in err
    write(tmp_path / "rows.jsonl", rows())
    assert "continuing after the 16" in predicted(llmkit, *arguments)
    predicted(llmkit, *arguments[:-1], "whole.jsonl")
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.usefixtures("chunked")
def test_rows_without_answers_and_without_ids(material: Path, llmkit: Command, tmp_path: Path) -> None:
    """Each gets its number as its id, in all chunks, and by it `eval` finds its gold answer."""
    run = material / "run"
    bare = [{"context": row["context"], "question": row["question"]} for row in rows()]
    write(tmp_path / "bare.jsonl", bare)
    (tmp_path / "bare.json").write_text(json.dumps({"data": bare}))
    pq.write_table(pa.Table.from_pylist(bare), tmp_path / "bare.parquet")
    for name, separator in (("bare.csv", ","), ("bare.tsv", "\t")):
        with (tmp_path / name).open("w", newline="") as file:
            table = csv.DictWriter(file, ["context", "question"], delimiter=separator)
            table.writeheader()
            table.writerows(bare)
    for suffix in ("jsonl", "json", "parquet", "csv", "tsv"):
        predicted(llmkit, run, f"bare.{suffix}", "-o", f"{suffix}.jsonl")
        assert (tmp_path / f"{suffix}.jsonl").read_bytes() == (tmp_path / "jsonl.jsonl").read_bytes()
    found = lines(tmp_path / "jsonl.jsonl")
    assert [line["id"] for line in found] == [str(n) for n in range(TOTAL)]
    predicted(llmkit, run, material / "rows.jsonl", "-o", "p.jsonl")
    assert [line["text"] for line in found] == [line["text"] for line in lines(tmp_path / "p.jsonl")]

    write(tmp_path / "gold.jsonl", [{key: row[key] for key in row if key != "id"} for row in rows()])
    code, out, _ = llmkit("eval", str(run), "--data", "gold.jsonl", "--json")
    assert code == 0
    found = llmkit("eval", "--predictions", "jsonl.jsonl", "--data", "gold.jsonl", "--task", "squad_v2", "--json")
    assert json.loads(found[1]) == json.loads(out)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*rows(), {**rows()[0], "id": "q3"}], "rows.jsonl:31: id 'q3' is taken by rows.jsonl:4"),
        ([*rows()[:9], {**rows()[0], "id": ...}, {**rows()[0], "id": "9"}], "rows.jsonl:11: id '9' is taken by"),
        ([{**rows()[0], "id": 20}, *({**rows()[0], "id": ...} for _ in range(20))], "id '20' is taken by rows.jsonl:1"),
        ([*rows(), {**rows()[0], "context": 3}], "rows.jsonl:31: 'context' is empty or not text"),
        ([], "rows.jsonl holds no question"),
    ],
)
def test_rows_are_checked_before_a_model_is_loaded(
    values: list[dict[str, Any]], expected: str, llmkit: Command, material: Path, tmp_path: Path
) -> None:
    write(tmp_path / "rows.jsonl", [{k: v for k, v in row.items() if v is not ...} for row in values])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "load", None)
        code, out, err = llmkit("predict", str(material / "run"), "rows.jsonl", "-o", "p.jsonl")
    assert (code, out) == (1, "")
    assert expected in err
    assert "Traceback" not in err
    assert left(tmp_path) == []


def test_a_file_that_another_command_writes(material: Path, llmkit: Command, tmp_path: Path) -> None:
    arguments = ("predict", str(material / "run"), str(material / "rows.jsonl"), "-o", "p.jsonl")
    with FileLock(tmp_path / ".p.jsonl.lock"):
        code, _, err = llmkit(*arguments)
    assert code == 1
    assert "p.jsonl is being written by another command" in err
    assert llmkit(*arguments)[0] == 0
    code, _, err = llmkit(*arguments)
    assert code == 1
    assert "p.jsonl already exists" in err


def test_where_memory_runs_out_a_batch_size_is_named(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python as an argument of Python."""

    def full(self: Any, **inputs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(BertForQuestionAnswering, "forward", full)
    with pytest.raises(OutOfMemory) as raised:
        api.predict(material / "run", rows(), batch_size=8)
    assert raised.value.remedy == "pass batch_size=4"


@pytest.mark.slow
def test_several_processes_give_the_same_bytes(material: Path, llmkit: Command, tmp_path: Path) -> None:
    arguments = [material / "run", material / "rows.jsonl", "-o"]
    predicted(llmkit, *arguments, "one.jsonl")
    code, _, err = llmkit("predict", *map(str, arguments), "two.jsonl", "-n", "2")
    assert code == 0, err
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert left(tmp_path) == []
