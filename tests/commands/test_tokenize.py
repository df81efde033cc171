"""`llmkit tokenize`, where something was there before: done, begun, killed, or made of other text."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support import Command

from llmkit.commands import tokenize as story
from llmkit.corpus import chunks, encoding, shards

SMALL = "tokenizer.vocab_size=100"


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A source of 90 documents, in several shards."""
    monkeypatch.setattr(shards, "SHARD_TOKENS", 200)
    monkeypatch.setattr(chunks, "CHUNK_CHARACTERS", 700)
    monkeypatch.setattr(encoding, "BATCH_CHARACTERS", 500)
    (tmp_path / "a.txt").write_text("\n\n".join(f"The ship {n} sails to town {n}." for n in range(90)))
    return "a.txt,documents=blank_line"


def killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_the_same_inputs_give_the_same_bytes(llmkit: Command, corpus: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        code, _, err = llmkit("tokenize", "-c", corpus, SMALL, "-o", folder)
        assert code == 0, err
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert {"manifest.json", "tokenizer/tokenizer.json", "train-00001.arrow"} <= set(content(tmp_path / "one"))
    assert not [name for name in content(tmp_path / "one") if Path(name).name.startswith((".", "key", "progress"))]


def test_a_killed_command_goes_on(
    llmkit: Command, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llmkit("tokenize", "-c", corpus, SMALL, "-o", "whole")
    command = ("tokenize", "-c", corpus, SMALL, "-o", "shards")
    for module, name in ((story, "train_tokenizer"), (chunks, "_write_chunk"), (story, "write_shards")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            assert llmkit(*command)[0] == 130
    assert not (tmp_path / "shards").exists()
    with monkeypatch.context() as patch:
        # What was done is not done again.
        patch.setattr(story, "train_tokenizer", None)
        patch.setattr(chunks, "_write_chunk", None)
        code, out, err = llmkit(*command)
    assert code == 0, err
    assert out.strip() == "shards"
    assert content(tmp_path / "shards") == content(tmp_path / "whole")


def test_what_was_begun_with_other_text_is_not_mixed_in(
    llmkit: Command, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is corrected after its bad line stopped the command."""
    (tmp_path / "b.jsonl").write_text('{"text": "a town"}\n{"txt": "another town"}\n')
    code, _, err = llmkit("tokenize", "-c", corpus, "-c", "b.jsonl", SMALL, "-o", "shards")
    assert (code, "b.jsonl:2" in err) == (1, True)
    with monkeypatch.context() as patch:
        patch.setattr(story, "write_shards", killed)
        assert llmkit("tokenize", "-c", corpus, "tokenizer.vocab_size=110", "-o", "shards")[0] == 130
    (tmp_path / "b.jsonl").write_text('{"text": "a town"}\n{"text": "another town"}\n')
    command = ("tokenize", "-c", corpus, "-c", "b.jsonl", SMALL)
    code, _, err = llmkit(*command, "-o", "shards")
    assert code == 0, err
    assert "shards was started with other inputs, starting over" in err
    assert "tokenizer.train was 110, is 100" in err
    llmkit(*command, "-o", "fresh")
    assert content(tmp_path / "shards") == content(tmp_path / "fresh")


def test_another_column_is_another_corpus(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one two", "body": "three"}\n' * 4)
    code, _, err = llmkit("tokenize", "-c", "a.jsonl", SMALL)
    assert code == 0, err
    code, _, err = llmkit("tokenize", "-c", "a.jsonl,text_column=body", SMALL)
    assert code == 0, err
    assert "already tokenized" not in err


def test_into_the_folder_one_is_in(
    llmkit: Command, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, out, err = llmkit("tokenize", "-c", f"../{corpus}", SMALL, "-o", ".")
    assert code == 0, err
    assert out.strip() == "."
    assert (tmp_path / "here" / "manifest.json").is_file()


def test_a_tokenizer_that_exists(llmkit: Command, corpus: str, tmp_path: Path) -> None:
    llmkit("tokenize", "-c", corpus, SMALL, "-o", "first")
    code, _, err = llmkit("tokenize", "-c", corpus, "tokenizer.path=first/tokenizer", "-o", "second")
    assert code == 0, err
    assert "training" not in err
    first, second = content(tmp_path / "first"), content(tmp_path / "second")
    made_of_both = [name for name in first if name.endswith((".arrow", "tokenizer.json"))]
    assert len(made_of_both) > 3
    assert [first[name] for name in made_of_both] == [second[name] for name in made_of_both]
    # A run means the model in it.
    shutil.copytree(tmp_path / "first" / "tokenizer", tmp_path / "run" / "model")
    (tmp_path / "run" / "model" / "config.json").write_text('{"model_type": "bert"}')
    code, _, err = llmkit("tokenize", "-c", corpus, "tokenizer.path=run", "-o", "of-a-run")
    assert code == 0, err
    of_a_run = content(tmp_path / "of-a-run")
    settings = "tokenizer/tokenizer_config.json"  # names the inputs that the run's model takes
    assert {**of_a_run, settings: second[settings]} == second
    code, _, err = llmkit("tokenize", "-c", corpus, "tokenizer.path=a.txt", "-o", "third")
    assert code == 1
    assert "a.txt" in err
    assert "Traceback" not in err
