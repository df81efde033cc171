"""`llmkit embed`: one vector for each text, those of sentence-transformers, whatever happens on the way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support import Command
from support.tasks import letters
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

import llmkit as package
from llmkit.commands import texts as chunks
from llmkit.models.checkpoint import Checkpoint
from llmkit.models.sentence_settings import settings_of_sentences
from llmkit.system.errors import UserError
from llmkit.tasks.similarity.embedder import Embedder

WORDS = ["old", "new", "fast", "slow", "red"] * 6
TEXTS = [f"The {word} ship sails{' on and on' * (n % 5)}." for n, word in enumerate(WORDS)]
SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked LM with large weights, so that its vectors differ."""
    folder = tmp_path_factory.mktemp("encoder") / "bert"
    torch.manual_seed(1)
    tokenizer = letters()
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.5, **SHAPE)
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of eight texts."""
    monkeypatch.setattr(chunks, "CHUNK_TEXTS", 8)


def lines(file: Path, texts: list[str] = TEXTS) -> Path:
    file.write_text("".join(f"{text}\n" for text in texts))
    return file


def embedded(llmkit: Command, *arguments: str | Path) -> str:
    """What a command says on the way to its vectors."""
    code, out, err = llmkit("embed", *map(str, arguments))
    assert code == 0, err
    assert out == f"{arguments[arguments.index('-o') + 1]}\n"
    return err


def vectors(file: Path) -> np.ndarray[Any, Any]:
    table = pq.read_table(file)
    numbers = table["embedding"].combine_chunks()
    return np.asarray(numbers.values).reshape(len(table), numbers.type.list_size)


def sentence_model(encoder: Path, folder: Path, *more: Any, **pooling: Any) -> Any:
    """A model of the library, saved in a folder: the encoder, a pooling, and more modules."""
    library = pytest.importorskip("sentence_transformers")  # the extra `embed`
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    model = library.SentenceTransformer(modules=[Transformer(str(encoder)), Pooling(16, **pooling), *more])
    model.save(str(folder))
    return library.SentenceTransformer(str(folder), device="cpu")


def test_lines_become_vectors_of_length_one(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    texts = lines(tmp_path / "t.txt", [*TEXTS[:2], "  ", *TEXTS[2:]])
    told = embedded(llmkit, encoder, texts, "-o", "new/v.parquet")
    assert f"BertModel, 1 × 16, 0.0 M parameters on {len(TEXTS)} texts" in told
    table = pq.read_table(tmp_path / "new" / "v.parquet")
    assert table["id"].to_pylist() == ["0", "1", *(str(n + 1) for n in range(2, len(TEXTS)))], "line numbers, from 0"
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 16)
    assert json.loads(table.schema.metadata[b"llmkit"])["pooling"] == "mean"
    assert np.linalg.norm(vectors(tmp_path / "new" / "v.parquet"), axis=1) == pytest.approx(1)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["v.parquet"]
    assert len(np.unique(vectors(tmp_path / "new" / "v.parquet").round(4), axis=0)) == len(set(TEXTS))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_they_are_those_of_sentence_transformers(encoder: Path, pooling: str, llmkit: Command, tmp_path: Path) -> None:
    model = sentence_model(encoder, tmp_path / "model", pooling_mode=pooling)
    expected = model.encode(TEXTS)
    embedded(llmkit, tmp_path / "model", lines(tmp_path / "t.txt"), "-o", "v.parquet", "--raw")
    assert np.abs(vectors(tmp_path / "v.parquet") - expected).max() < 1e-5
    embedded(llmkit, encoder, "t.txt", "-o", "w.parquet", "--pooling", pooling, "--dim", "5")
    expected = model.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    assert np.abs(vectors(tmp_path / "w.parquet") - expected).max() < 1e-5
    found = package.embed(tmp_path / "model", TEXTS, dim=5)
    assert np.abs(found - expected).max() < 1e-5


def test_further_modules_and_prompts_are_read(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.base.modules import Dense, Normalize

    torch.manual_seed(2)
    dense = Dense(16, 12, activation_function=torch.nn.Tanh())
    sentence_model(encoder, tmp_path / "model", dense, Normalize())
    file = tmp_path / "model" / "config_sentence_transformers.json"
    prompts = {"query": "query: ", "passage": "passage: "}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prompts": prompts, "default_prompt_name": "passage"}))
    import sentence_transformers

    model = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    lines(tmp_path / "t.txt")
    for name, arguments in {"passage": [], "query": ["--prompt", "query"]}.items():
        embedded(llmkit, "model", "t.txt", "-o", f"{name}.parquet", "--raw", *arguments)
        expected = model.encode(TEXTS, prompt_name=name)
        assert np.abs(vectors(tmp_path / f"{name}.parquet") - expected).max() < 1e-5
    embedded(llmkit, "model", "t.txt", "-o", "own.parquet", "--raw", "--prompt", "query: ")
    assert (vectors(tmp_path / "own.parquet") == vectors(tmp_path / "query.parquet")).all()
    embedded(llmkit, "model", "t.txt", "-o", "none.parquet", "--raw", "--prompt", "")
    assert np.abs(vectors(tmp_path / "none.parquet") - model.encode(TEXTS, prompt="")).max() < 1e-5
    code, _, err = llmkit("embed", "model", "t.txt", "-o", "x.parquet", "--prompt", "quary")
    assert code == 1
    assert "model has no prompt named 'quary'" in err
    assert "Its prompts are query, passage" in " ".join(err.split())


def test_what_a_folder_says_is_not_guessed(encoder: Path, tmp_path: Path) -> None:
    for modules, told in {
        ("Transformer", "LSTM"): "a module that is not read here: LSTM in the folder 1_LSTM",
        ("Transformer",): "has no Pooling in its modules.json",
        ("Transformer", "Pooling", "Normalize", "Dense"): "Dense after a Normalize in the folder 3_Dense",
        ("Transformer", "Pooling"): "pools its states by lasttoken",
    }.items():
        folder = tmp_path / "-".join(modules)
        shutil.copytree(encoder, folder)
        listed = [{"type": f"x.{kind}", "path": f"{n}_{kind}" if n else ""} for n, kind in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(listed))
        (folder / "1_Pooling").mkdir()
        options = {"pooling_mode": "mean" if "Dense" in modules else "lasttoken"}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(options))
        with pytest.raises(UserError, match=told):
            settings_of_sentences(Checkpoint.named(str(folder)))
    old = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}  # before version 5.4
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(old))
    assert settings_of_sentences(Checkpoint.named(str(folder))).pooling == "cls"


def test_any_model_with_an_encoder_will_do(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    BertForSequenceClassification.from_pretrained(encoder).save_pretrained(tmp_path / "run" / "model")
    shutil.copy(encoder / "tokenizer.json", tmp_path / "run" / "model")
    shutil.copy(encoder / "tokenizer_config.json", tmp_path / "run" / "model")
    lines(tmp_path / "t.txt")
    embedded(llmkit, encoder, "t.txt", "-o", "v.parquet")
    embedded(llmkit, "run", "t.txt", "-o", "w.parquet")
    assert (tmp_path / "v.parquet").read_bytes() == (tmp_path / "w.parquet").read_bytes()


def test_rows_of_any_format(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "body": text} for n, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("id,body\n" + "".join(f"{row['id']},{row['body']}\n" for row in rows))
    found = []
    for ending in ("jsonl", "parquet", "csv"):
        embedded(llmkit, encoder, f"rows.{ending}", "--field", "body", "-o", f"{ending}.parquet")
        found.append((tmp_path / f"{ending}.parquet").read_bytes())
    assert found[0] == found[1] == found[2]
    assert pq.read_table(tmp_path / "csv.parquet")["id"].to_pylist() == [row["id"] for row in rows]


def test_long_texts_are_cut_and_counted(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    lines(tmp_path / "t.txt", ["short.", "long " * 80, "as " * 100])
    told = embedded(llmkit, encoder, "t.txt", "-o", "v.parquet")
    assert "2 of 3 texts are longer than 64 tokens" in " ".join(told.split())
    embedded(llmkit, encoder, lines(tmp_path / "u.txt", ["short.", "long " * 90, "as " * 90]), "-o", "w.parquet")
    assert vectors(tmp_path / "v.parquet") == pytest.approx(vectors(tmp_path / "w.parquet"), abs=1e-6)
    told = embedded(llmkit, encoder, "t.txt", "-o", "x.parquet", "--max-length", "8")
    assert "2 of 3 texts are longer than 8 tokens" in " ".join(told.split())


KILLED = """
import os, signal, sys
from llmkit.commands import texts
from llmkit.cli.main import main
from llmkit.system.partial_file import PartialFile

def append(self, part, key, parts):
    if parts["texts"] == 24:
        with self._partial.open("ab") as file:
            file.write(part[: len(part) // 2])
            file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, part, key, parts)

whole, PartialFile.append = PartialFile.append, append
texts.CHUNK_TEXTS = 8
main()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_killed_and_gone_on_with_it_is_the_same_bytes(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    lines(tmp_path / "t.txt", [*TEXTS, "long " * 80])
    told = embedded(llmkit, encoder, "t.txt", "-o", "whole.parquet")
    command = [sys.executable, "-c", KILLED, "embed", str(encoder), "t.txt", "-o", "v.parquet"]
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "v.parquet").exists()
    told = embedded(llmkit, encoder, "t.txt", "-o", "v.parquet")
    assert "continuing after the 16 texts that are done" in told
    assert "1 of 31 texts are longer" in " ".join(told.split())
    assert (tmp_path / "v.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".v")]


@pytest.mark.usefixtures("few")
def test_what_changed_starts_over_and_what_came_later_does_not(
    encoder: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(tmp_path / "t.txt")
    real, calls = Embedder.__call__, list[int]()

    def stopping(self: Embedder, texts: Any, advance: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(texts))
        return real(self, texts, advance)

    monkeypatch.setattr(Embedder, "__call__", stopping)
    assert llmkit("embed", str(encoder), "t.txt", "-o", "v.parquet")[0] == 130
    monkeypatch.setattr(Embedder, "__call__", lambda *given: (calls.append(len(given[1])), real(*given))[1])
    for file in tmp_path.glob(".v.parquet*"):
        shutil.copy(file, tmp_path / file.name.replace("v.parquet", "w.parquet"))
    calls.clear()
    lines(tmp_path / "t.txt", [*TEXTS[:16], "another", *TEXTS[17:]])
    assert "continuing after the 16 texts" in embedded(llmkit, encoder, "t.txt", "-o", "v.parquet")
    assert calls == [8, 6]
    told = embedded(llmkit, encoder, "t.txt", "-o", "w.parquet", "--pooling", "cls")
    assert "starting over: options" in told
    assert len(vectors(tmp_path / "w.parquet")) == len(TEXTS)


@pytest.mark.usefixtures("few")
def test_a_file_that_changes_meanwhile_is_noticed(
    encoder: Path, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(tmp_path / "t.txt")
    real = Embedder.__call__

    def changing(self: Embedder, texts: Any, advance: Any) -> Any:
        lines(tmp_path / "t.txt", ["another", *TEXTS[1:]])
        return real(self, texts, advance)

    monkeypatch.setattr(Embedder, "__call__", changing)
    code, _, err = llmkit("embed", str(encoder), "t.txt", "-o", "v.parquet")
    assert code == 1
    assert "t.txt has changed while it was embedded" in err
    assert not (tmp_path / "v.parquet").exists()


def test_what_cannot_be_embedded_is_said(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    lines(tmp_path / "t.txt")
    (tmp_path / "rows.jsonl").write_text('{"body": "a"}\n{"body": ""}\n')
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").touch()
    shutil.copy(encoder / "config.json", tmp_path / "onnx")
    bert = str(encoder)
    for arguments, told in {
        (bert, "t.txt", "-o", "v.npy"): "v.npy does not end in .parquet",
        (bert, "no.txt", "-o", "v.parquet"): "no.txt does not exist",
        (bert, ".", "-o", "v.parquet"): ". is a folder",
        (bert, "no*.txt", "-o", "v.parquet"): "no*.txt does not exist",
        (bert, "empty.txt", "-o", "v.parquet"): "empty.txt holds no text",
        (bert, "rows.jsonl", "-o", "v.parquet"): "Name the column of the texts with --field",
        (bert, "rows.jsonl", "--field", "body", "-o", "v.parquet"): "rows.jsonl:2: 'body' is empty",
        (bert, "t.txt", "-o", "v.parquet", "--dim", "17"): "--dim 17 exceeds the 16 numbers",
        (bert, "t.txt", "-o", "v.parquet", "--max-length", "65"): "--max-length 65 exceeds the 64 positions",
        ("onnx", "t.txt", "-o", "v.parquet"): "onnx is an ONNX export",
    }.items():
        code, _, err = llmkit("embed", *arguments)
        assert code == 1, arguments
        assert told in " ".join(err.split()), arguments
    assert not (tmp_path / "v.parquet").exists()
