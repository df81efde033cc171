"""Text → token shards: the ids, the files, what happens when it is killed or given something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Command, documents_of
from transformers import AutoTokenizer

from llmkit.corpus import held_out
from llmkit.corpus.chunks import write_chunks
from llmkit.corpus.encoding import Encoder
from llmkit.corpus.shards import TokenShards, read_manifest, write_shards
from llmkit.corpus.sources import BOOKCORPUS_SENTENCES, OpenSource, _joined, open_source
from llmkit.corpus.vocabularies import train_tokenizer
from llmkit.recipes.corpus import Source
from llmkit.system.errors import UserError

TEXTS = [
    "The red ship sails north.",
    "A town, small and old!",
    "Émile said [MASK] — twice.",
    "",
    "   ",
    "Ships sail.",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(lambda: iter(TEXTS * 4), 120, lowercase=True)


class InMemory(OpenSource):
    """A source whose documents are a list."""

    def __init__(self, texts: list[str], weight: float = 1.0) -> None:
        super().__init__(Source(path="memory", weight=weight), {}, None)
        object.__setattr__(self, "texts", texts)

    def parts(self) -> list[Callable[[], Iterator[str]]]:
        return [lambda: iter(self.texts)]  # type: ignore[attr-defined]


def write(folder: Path, tokenizer: Any, *sources: InMemory) -> None:
    work = folder / "begun"
    work.mkdir(parents=True)
    write_chunks(work, Encoder(tokenizer), sources, lambda counts: None, lambda: False)
    about = {"key": {}, "sources": [{"path": "memory", "weight": source.spec.weight} for source in sources]}
    write_shards(folder, tokenizer, work, about)


def documents_in(folder: Path) -> dict[str, list[list[int]]]:
    found = {}
    for split in ("train", "validation"):
        found[split] = documents_of(TokenShards(folder, split))
    return found


@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=20))
def test_ids_are_the_tokenizers_own(texts: list[str], tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shards")
    # A [MASK] in a corpus is text that somebody wrote.
    expected = [ids for ids in tokenizer(texts, split_special_tokens=True)["input_ids"] if len(ids) > 2]
    if not expected:
        with pytest.raises(UserError, match="no text"):
            write(folder, tokenizer, InMemory(texts))
        return
    write(folder, tokenizer, InMemory(texts))
    found = documents_in(folder)
    # Of so little text, the end is held out, perhaps from within a document.
    assert list(chain(*found["train"], *found["validation"])) == list(chain(*expected))
    assert found["train"]


def test_mask_in_text_is_not_a_mask(tokenizer: Any, tmp_path: Path) -> None:
    write(tmp_path / "c", tokenizer, InMemory(["before [MASK] after", "[CLS] and [SEP]"]))
    tokens = list(chain(*chain(*documents_in(tmp_path / "c").values())))
    assert tokenizer.mask_token_id not in tokens
    assert tokens.count(tokenizer.cls_token_id) == tokens.count(tokenizer.sep_token_id) == 2
    assert tokenizer.mask_token_id in tokenizer("[MASK]")["input_ids"], "the tokenizer itself is as it was"


def test_shards_are_what_datasets_opens(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "BLOCK", 1)
    write(tmp_path / "c", tokenizer, InMemory([f"document {n}" for n in range(450)]))
    manifest = read_manifest(tmp_path / "c")
    assert manifest["totals"]["validation"]["documents"] == 3, "every 200th, the first among them"
    (shard,) = manifest["splits"]["train"]
    data = Dataset.from_file(str(tmp_path / "c" / shard["file"]))
    assert data.data.schema.field("input_ids").type == pa.list_(pa.uint16())
    assert data["input_ids"][:] == documents_in(tmp_path / "c")["train"]
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "c" / "tokenizer")("document 7")["input_ids"] in data["input_ids"][:]
    )


def texts_of(path: Path | str, **options: Any) -> list[str]:
    return [text for text in open_source(Source(path=str(path), **options)).documents() if text.strip()]


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n \t\r\nthree\r\n")
    (tmp_path / "b.txt").write_text("four\n\n\nfive")
    (tmp_path / "notes.rst").write_text("not read")
    assert [t.split() for t in texts_of(tmp_path)] == [["one", "two", "three"], ["four", "five"]]
    parts = texts_of(tmp_path, documents="blank_line")
    assert [t.split() for t in parts] == [["one", "two"], ["three"], ["four"], ["five"]]
    assert [t.split() for t in texts_of(tmp_path / "b*.txt", documents="file")] == [["four", "five"]]
    assert [t.split() for t in texts_of(tmp_path, documents="line")] == [
        ["one"],
        ["two"],
        ["three"],
        ["four"],
        ["five"],
    ]


def test_rows_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two", "other": 1}\n')
    assert texts_of(tmp_path / "a.jsonl") == ["one", "two"]
    pq.write_table(pa.table({"body": ["three", None, "four"]}), tmp_path / "b.parquet")
    assert texts_of(tmp_path / "b.parquet", text_column="body") == ["three", "four"]


BAD_TEXT = {
    "utf-8": ("a.txt", b"fine\nna\xefve\n", {}, "a.txt:2: not UTF-8 text"),
    "json": ("a.jsonl", b'{"text": "x"}\n{"text": \n', {}, "a.jsonl:2: broken JSON"),
    "field": ("a.jsonl", b'{"txt": "x"}\n', {}, "a.jsonl:1 has no column 'text'; columns are txt"),
    "object": ("a.jsonl", b"[1]\n", {}, "a.jsonl:1: expected a JSON object"),
    "parquet": ("a.parquet", b"nothing of the kind", {}, "a.parquet: not readable as parquet"),
    "format": ("a.docx", b"x", {}, "a.docx: unsupported format"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    name, content, options, message = BAD_TEXT[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        texts_of(tmp_path / name, **options)
    assert message in str(caught.value)


def test_parquet_column_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="no column 'text'; columns are body, n"):
        texts_of(tmp_path / "b.parquet")
    with pytest.raises(UserError, match="does not hold text"):
        texts_of(tmp_path / "b.parquet", text_column="n")


def test_sentences_of_bookcorpus_are_joined() -> None:
    sentences = (f"s{n}" for n in range(BOOKCORPUS_SENTENCES + 2))
    first, second = _joined(sentences, BOOKCORPUS_SENTENCES)
    assert len(first.split()) == BOOKCORPUS_SENTENCES
    assert second == f"s{BOOKCORPUS_SENTENCES} s{BOOKCORPUS_SENTENCES + 1}"


def test_the_command(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"The ship {n} sails to town {n}." for n in range(60)))
    source = ["-c", "a.txt,documents=blank_line,weight=2", "tokenizer.vocab_size=110"]
    code, out, err = llmkit("tokenize", *source, "-o", "shards")
    assert code == 0, err
    assert out.strip() == "shards"
    assert "tokenized 60 documents" in err
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").iterdir()}
    code, _, err = llmkit("tokenize", *source, "-o", "shards")
    assert code == 0
    assert "already tokenized" in err
    code, _, err = llmkit("tokenize", "-c", "a.txt,documents=blank_line", "tokenizer.vocab_size=120", "-o", "shards")
    assert code == 1
    assert "tokenizer.train was 110, is 120" in err
    assert "weight was 2.0, is 1.0" in err
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").iterdir()} == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    code, _, err = llmkit("tokenize", *source, "-o", "full")
    assert code == 1
    assert "in use" in err
    code, _, err = llmkit("tokenize", *source, "-o", "a.txt/below")
    assert code == 1
    assert "Traceback" not in err
    (tmp_path / "shards" / "manifest.json").write_text("{")
    code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus.path=shards")
    assert code == 1
    assert "manifest.json is damaged" in err
    (tmp_path / "empty.txt").write_text("\n\n")
    code, _, err = llmkit("tokenize", "-c", "empty.txt", "-o", "nothing")
    assert code == 1
    assert "no text" in err
    assert not (tmp_path / "nothing").exists()
