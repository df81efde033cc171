"""Token shards hold exactly what the tokenizer says, survive a kill at any write, and say when they are damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import documents_of
from transformers import BertTokenizer

from llmkit.corpus import chunks, encoding, held_out, shards
from llmkit.corpus.chunks import write_chunks
from llmkit.corpus.encoding import Encoder
from llmkit.corpus.masking import Masks, Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards, read_manifest, write_shards
from llmkit.corpus.sources import OpenSource
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.recipes.corpus import Source
from llmkit.system.errors import UserError

WORDS = ["the", "ship", "town", "##s", "##ing", "sail", "old"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class Texts(OpenSource):
    """A source that holds its documents in memory."""

    def __init__(self, texts: Sequence[str], weight: float = 1.0) -> None:
        super().__init__(Source(path="memory", weight=weight), {"texts": list(texts)}, None)

    def parts(self) -> list[Callable[[], Iterator[str]]]:
        return [lambda: iter(self.content["texts"])]


def nothing(counts: Mapping[str, int]) -> None:
    """A report that nobody reads."""


def make(folder: Path, tokenizer: Any, *sources: Texts, report: Callable[[Mapping[str, int]], None] = nothing) -> Path:
    work = folder.with_name(f"{folder.name} begun")
    work.mkdir(exist_ok=True)
    write_chunks(work, Encoder(tokenizer), sources, report, lambda: False)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_shards(folder, tokenizer, work, {"key": {}, "sources": [source.spec.model_dump() for source in sources]})
    return folder


def in_order(folder: Path, split: str) -> list[list[int]]:
    return documents_of(TokenShards(folder, split))


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate([*SPECIAL, *WORDS])})


def test_padding_and_truncation_of_a_tokenizer_file_are_not_taken_over(tokenizer: Any, tmp_path: Path) -> None:
    """A tokenizer saved for sentence embeddings says `pad to 128, cut at 128`."""
    saved = load_tokenizer_with(tokenizer, tmp_path / "saved", padding=16, truncation=4)
    texts = ["the ship sails", "the old ship sailing the town", "ship"]
    folder = make(tmp_path / "corpus", saved, Texts(texts))
    found = [*in_order(folder, "train"), *in_order(folder, "validation")]
    assert list(chain(*found)) == list(chain(*(tokenizer(text)["input_ids"] for text in texts)))


def load_tokenizer_with(tokenizer: Any, folder: Path, *, padding: int, truncation: int) -> Any:
    backend = tokenizer.backend_tokenizer.__class__.from_str(tokenizer.backend_tokenizer.to_str())
    backend.enable_padding(length=padding)
    backend.enable_truncation(truncation)
    tokenizer.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    return load_tokenizer(str(folder))


def test_a_large_vocabulary_takes_32_bits(tmp_path: Path) -> None:
    words = [*SPECIAL, *(f"word{number}" for number in range(70_000))]
    large = BertTokenizer(vocab={token: number for number, token in enumerate(words)})
    folder = make(tmp_path / "corpus", large, Texts(["word69999 word1", "word66000 x"]))
    assert in_order(folder, "train") == [[2, 70_004, 6, 3]]
    assert in_order(folder, "validation") == [[2, 66_005, 1, 3]]
    (shard,) = read_manifest(folder)["splits"]["train"]
    with pa.memory_map(str(folder / shard["file"])) as file:
        assert pa.ipc.open_stream(file).schema.field("input_ids").type == pa.list_(pa.uint32())


def test_every_source_holds_out_its_own_documents(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "BLOCK", 1)
    long = [f"the ship {'sails ' * (number % 5)}" for number in range(401)]
    folder = make(
        tmp_path / "corpus", tokenizer, Texts(["", "old town", *long], 2.0), Texts(["ship", *["town"] * 9], 0.5)
    )
    ids = [tokenizer(text)["input_ids"] for text in ["old town", *long]]
    expected = [ids[0], ids[200], ids[400], tokenizer("ship")["input_ids"]]
    assert in_order(folder, "validation") == expected, "empty documents are not counted"
    assert TokenShards(folder, "validation").weights.tolist() == [2.0, 2.0, 2.0, 0.5]
    train = TokenShards(folder, "train")
    assert train.weights.tolist() == [2.0] * 399 + [0.5] * 9
    totals = read_manifest(folder)["totals"]
    assert totals["train"] == {"documents": len(train), "tokens": int(train.lengths.sum())}
    # Each document of the first source twice, and of the second every other one: four of nine.
    blocks = PackedBlocks(train, 10)
    documents = in_order(folder, "train")
    stream = [*chain(*(document * 2 for document in documents[:-9])), *chain(*documents[-4:])]
    assert blocks.read(np.arange(len(blocks))).input_ids.reshape(-1).tolist() == stream[: len(blocks) * 10]
    assert 0 <= len(stream) - blocks.tokens < 10, "at most the last, unfilled block is left out"


LENGTHS = st.lists(st.integers(3, 400), min_size=1, max_size=30)


@given(lengths=LENGTHS, cuts=st.sets(st.integers(0, 29)))
def test_the_end_of_few_documents_is_held_out(
    lengths: list[int], cuts: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("chunks")
    paths, number = [], 0
    for first, last in pairwise(sorted({0, len(lengths), *(cut for cut in cuts if cut < len(lengths))})):
        paths.append(folder / f"{first}.arrow")
        ids = np.arange(number, number := number + sum(lengths[first:last]))
        batch = chunks.documents_batch(ids, lengths[first:last])
        chunks.write_batch(paths[-1], batch.replace_schema_metadata(dict.fromkeys(chunks.COUNTS, "0")))
    end = held_out.held_out_end(paths)
    total = sum(lengths)
    parts: dict[bool, list[int]] = {False: [], True: []}
    for values, offsets, which in held_out.split_documents(paths, end):
        for (start, stop), is_held_out in zip(pairwise(offsets), which, strict=True):
            parts[bool(is_held_out)] += values[start:stop].tolist()
    assert end is not None
    assert parts == {False: list(range(end)), True: list(range(end, total))}
    assert len(parts[True]) >= min(total // 2, 512), "a block"
    assert len(parts[True]) <= max(total / 2, total / 10 + 1), "and something to train on"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks, shards and batches of a few documents, and documents that come in pieces of a few words."""
    monkeypatch.setattr(chunks, "CHUNK_CHARACTERS", 40)
    monkeypatch.setattr(held_out, "BLOCK", 1)
    monkeypatch.setattr(shards, "SHARD_TOKENS", 40)
    monkeypatch.setattr(encoding, "BATCH_CHARACTERS", 60)
    monkeypatch.setattr(encoding, "PIECE_CHARACTERS", 12)


SOURCES = [["the ship sails", "", "old town"] * 9, ["   "], ["towns"] * 25]


@pytest.mark.usefixtures("small")
def test_a_kill_at_any_write_changes_nothing(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [Texts(texts) for texts in SOURCES]
    whole = content(make(tmp_path / "whole", tokenizer, *sources))
    write, writes = chunks.write_whole, 0

    def counted(path: Path, data: str | bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == stop:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(chunks, "write_whole", counted)
    monkeypatch.setattr(shards, "write_whole", counted)
    stop = -1
    assert content(make(tmp_path / "counted", tokenizer, *sources)) == whole
    assert writes > 20, "the corpus takes several chunks and shards"
    for stop in range(1, writes + 1):
        folder = tmp_path / f"killed at {stop}"
        writes = 0
        with pytest.raises(KeyboardInterrupt):
            make(folder, tokenizer, *sources)
        assert not (folder / "manifest.json").exists()
        made = {file: file.stat().st_mtime_ns for file in tmp_path.glob(f"{folder.name} begun/*.arrow")}
        stop = -1
        assert content(make(folder, tokenizer, *sources)) == whole
        assert {file: file.stat().st_mtime_ns for file in made} == made, "what was made is not made again"


@pytest.mark.usefixtures("small")
def test_the_report_counts_up_to_the_whole(tokenizer: Any, tmp_path: Path) -> None:
    seen: list[dict[str, int]] = []
    texts = ["the ship sails", "", "old town"] * 9
    folder = make(tmp_path / "c", tokenizer, Texts(texts), Texts(["é"]), report=lambda counts: seen.append({**counts}))
    for key in ("documents", "tokens", "bytes"):
        values = [counts[key] for counts in seen]
        assert values == sorted(values)
    manifest = read_manifest(folder)
    assert seen[-1] == {key: manifest[key] for key in chunks.COUNTS}
    assert manifest["documents"] == 19
    assert manifest["tokens"] == sum(part["tokens"] for part in manifest["totals"].values())
    assert manifest["bytes"] == sum(len(text) for text in texts) + 2
    assert manifest["unknown"] == 1, "é"


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def another_table(file: Path) -> None:
    table = pa.table({"text": ["not tokens"]})
    with pa.ipc.new_stream(str(file), table.schema) as stream:
        stream.write_table(table)


@pytest.mark.parametrize("damage", [truncated, emptied, Path.unlink, another_table])
def test_a_damaged_shard_is_named(damage: Callable[[Path], None], tokenizer: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus", tokenizer, Texts(["the old ship sails"] * 50))
    damage(folder / "train-00000.arrow")
    with pytest.raises(UserError, match=r"train-00000\.arrow is damaged") as caught:
        TokenShards(folder, "train")
    assert "tokenize" in caught.value.remedy
    assert len(TokenShards(folder, "validation")) > 0


def test_shards_of_another_format_are_not_read(tokenizer: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus", tokenizer, Texts(["ship"]))
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"format": 1', '"format": 99'))
    with pytest.raises(UserError, match="has format 99; this version of llmkit reads format 1"):
        TokenShards(folder, "train")
    with pytest.raises(UserError, match="does not exist"):
        TokenShards(tmp_path / "none", "train")


def test_masking_knows_the_tokenizer(tokenizer: Any) -> None:
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.mask_id == 4
    # [UNK] stands for a word of the text, so it is masked as others are.
    assert np.flatnonzero(vocabulary.special).tolist() == [0, 2, 3, 4]
    assert vocabulary.ordinary.tolist() == [1, *range(5, 12)]
    assert vocabulary.words is not None
    assert [token for token, begins in zip([*SPECIAL, *WORDS], vocabulary.words.begins, strict=True) if not begins] == [
        "##s",
        "##ing",
    ]


def test_whole_words_end_with_the_word_that_fills_the_share(tokenizer: Any) -> None:
    """Words of a block that begins inside one, and where [SEP] [CLS] stand between documents."""
    ids = np.array([9, 8, 3, 2, *[5, 6, 8, 10, 9, 6, 11, 10, 8] * 4, 3])
    word = np.array([0, 0, -1, -1, *(number + 9 * k for k in range(4) for number in [1, 2, 2, 3, 3, 4, 5, 6, 6]), -1])
    allowed = word >= 0
    masks = Masks(Vocabulary.of(tokenizer), masking="whole_words", seed=0)
    for block in range(200):
        _, chosen = masks.mask(ids[None], np.array([0]), np.array([block]), 0.15)
        picked = np.unique(word[chosen])
        assert chosen.tolist() == np.flatnonzero(np.isin(word, picked)).tolist(), "whole words, and no special token"
        target = round(0.15 * allowed.sum())
        sizes = [int((word == number).sum()) for number in picked]
        assert target <= sum(sizes) < target + max(sizes)
