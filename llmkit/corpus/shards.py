"""Token shards: a tokenized corpus on disk.

    DIR/
      manifest.json               inputs and sizes; written last, so its presence means that the corpus is complete
      tokenizer/                  loads with AutoTokenizer.from_pretrained
      train-00000.arrow …         Arrow streams with one column, input_ids: list<uint16> (uint32 for a large
      validation-00000.arrow …    vocabulary), one row per document: [CLS] … [SEP]; a document
                                  that is cut for validation lacks one of them in each half

`datasets.Dataset.from_file` memory-maps a shard. The first document of each source and every 200th after it are held
out for validation; of a source with few or short documents, the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from llmkit.corpus.chunks import COUNTS, chunks_of, documents_batch, read_chunk, write_batch
from llmkit.corpus.encoding import Ids
from llmkit.corpus.held_out import held_out_end, split_documents
from llmkit.corpus.tokenizer import no_text, save_tokenizer
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FORMAT = 1
SHARD_TOKENS = 2**24  # a shard ends with the document with which it reaches this many training tokens
SPLITS = ("train", "validation")


@dataclass
class _Shard:
    """The next shard of each split, while it is filled from one source: arrays of ids and of document lengths."""

    values: dict[str, list[Ids]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    lengths: dict[str, list[Ids]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))


def write_shards(
    folder: Path, tokenizer: PreTrainedTokenizerFast, chunks: Path, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Build a corpus in `folder` from chunks: shards, tokenizer and finally the manifest. Returns the manifest.

    `about` has the manifest's `key` and `sources`, and any other entries for it. Raises UserError if there is no text.
    """
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    totals = dict.fromkeys(COUNTS, 0)
    number = 0
    for source, spec in enumerate(about["sources"]):
        paths = list(chunks_of(chunks, source))
        counts = _total_counts(paths)
        totals = {key: totals[key] + counts[key] for key in COUNTS}
        end = held_out_end(paths)
        if end:
            say(f"{spec['path']}: few or short documents ({counts['documents']:,}), so the end of the text is held out")
        for shard in _shards(paths, end):
            for split in SPLITS:
                if shard.tokens[split]:
                    file = f"{split}-{number:05d}.arrow"
                    lengths = np.concatenate(shard.lengths[split])
                    write_batch(folder / file, documents_batch(np.concatenate(shard.values[split]), lengths))
                    splits[split].append(
                        {"file": file, "documents": len(lengths), "tokens": shard.tokens[split], "source": source}
                    )
            number += 1
    if not any(splits.values()):
        raise no_text()
    save_tokenizer(tokenizer, folder / "tokenizer")
    of_splits = {
        split: {key: sum(shard[key] for shard in splits[split]) for key in ("documents", "tokens")} for split in SPLITS
    }
    manifest = {"format": FORMAT, **about, **totals, "totals": of_splits, "splits": splits}
    write_whole(folder / "manifest.json", to_json(manifest))
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a token shard folder. Raises UserError if it is missing, damaged or of another format."""
    path = folder / "manifest.json"
    if not path.is_file():
        what = "holds no token shards" if folder.is_dir() else "does not exist"
        raise UserError(f"{folder} {what}", remedy="make them with `llmkit tokenize -c … -o DIR`")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, *_ = (manifest[name] for name in ("format", "key", "sources", "totals", "splits"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}", remedy="tokenize the corpus again") from None
    if version != FORMAT:
        raise UserError(
            f"{path} has format {version}; this version of llmkit reads format {FORMAT}",
            remedy="tokenize the corpus again",
        )
    return manifest


class TokenShards:
    """The documents of a split, or of several in this order, memory-mapped. With `source`, those of this source alone.

    `lengths` [D]: tokens per document, int64. `weights` [D]: how often an epoch reads the document. `files`: the ids of
    all documents of a file, one after another; document d begins in `files[file[d]]` at `first[d]`.
    """

    def __init__(self, folder: Path, *splits: str, source: int | None = None) -> None:
        manifest = read_manifest(folder)
        self.folder = folder
        weights = [float(source["weight"]) for source in manifest["sources"]]
        shards = [shard for split in splits for shard in manifest["splits"][split] if source in (None, shard["source"])]
        self.files: list[Ids] = []
        starts, lengths = [], []
        for shard in shards:
            values, offsets = _open(folder / shard["file"])
            self.files.append(values)
            starts.append(offsets[:-1])
            lengths.append(np.diff(offsets))
        self.lengths = np.concatenate([*lengths, np.empty(0, np.int64)]).astype(np.int64)
        self.first = np.concatenate([*starts, np.empty(0, np.int64)]).astype(np.int64)
        self.file = np.repeat(np.arange(len(shards)), [len(part) for part in lengths])
        self.weights = np.repeat([weights[s["source"]] for s in shards], [len(part) for part in lengths])

    def __len__(self) -> int:
        return len(self.lengths)


def _shards(chunks: Sequence[Path], end: int | None) -> Iterator[_Shard]:
    """Regroup a source's chunks into shards."""
    shard = _Shard()
    for values, offsets, held_out in split_documents(chunks, end):
        lengths = np.diff(offsets)
        start = 0
        while start < len(lengths):
            filled = shard.tokens["train"] + np.cumsum(np.where(held_out[start:], 0, lengths[start:]))
            stop = start + int(np.searchsorted(filled, SHARD_TOKENS)) + 1  # after the document that fills the shard
            documents = slice(start, stop)
            tokens = values[offsets[start] : offsets[min(stop, len(lengths))]]
            for split, chosen in zip(SPLITS, (~held_out[documents], held_out[documents]), strict=True):
                shard.values[split].append(tokens[np.repeat(chosen, lengths[documents])])
                shard.lengths[split].append(lengths[documents][chosen])
                shard.tokens[split] += len(shard.values[split][-1])
            if stop <= len(lengths):
                yield shard
                shard = _Shard()
            start = stop
    yield shard


def _total_counts(chunks: Sequence[Path]) -> dict[str, int]:
    every = [read_chunk(path)[2] for path in chunks]
    return {key: sum(counts[key] for counts in every) for key in COUNTS}


def _open(path: Path) -> tuple[Ids, Ids]:
    """Memory-map a shard: the ids of all its documents [T], and the documents' offsets [D + 1]."""
    try:
        with pa.memory_map(str(path)) as source:
            (column,) = pa.ipc.open_stream(source).read_all().column("input_ids").chunks
    except (OSError, pa.ArrowInvalid, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged: {error}", remedy="tokenize the corpus again") from None
    return column.values.to_numpy(), column.offsets.to_numpy()
