"""Encode documents as token ids on all cores, in bounded memory, even if documents are long.

The tokenizers library needs a few hundred bytes per token while it encodes. So it gets text in small batches. Long
documents are split into pieces, if the tokenizer is known to give the same ids for them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.corpus.words import ACCENTS, CLUSTERS
from llmkit.system.cores import cores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = np.ndarray[Any, np.dtype[Any]]

BATCH_CHARACTERS = min(2**21, 2**18 * cores().usable)  # per call of the library: enough to use all cores
PIECE_CHARACTERS = 2**15  # small enough that a batch of few documents still has a piece for every core
AHEAD = 2  # batches that are encoded in the background


class Encoder:
    """Encodes the documents of a corpus. `dtype` is that of the ids: uint16, or uint32 for a large vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = tokenizer.backend_tokenizer.__class__.from_str(tokenizer.backend_tokenizer.to_str())
        # In a corpus, "[MASK]" is six characters of text, not a special token.
        self._backend.encode_special_tokens = True
        self.dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)
        self.unknown: int | None = tokenizer.unk_token_id
        self.special = len(self._backend.encode("").ids)  # special tokens per document
        self._can_split = _splits_at_spaces(self._backend) and self.special == 2

    def encode(self, documents: Iterator[str]) -> Iterator[list[tuple[int, Ids]]]:
        """Yield a list per batch, with the size in bytes of UTF-8 and the ids of each document, in order."""
        size, parts = 0, list[Ids]()
        for pieces, encodings in self._encode_ahead(_batches(self._pieces(documents))):
            encoded = []
            for (text, is_last), ids in zip(pieces, _id_arrays(encodings, self.dtype), strict=True):
                # Each piece has a special token at either end; only those at the ends of the document are kept.
                parts.append(ids[1 if parts else 0 : None if is_last else -1])
                size += len(text.encode())
                if is_last:
                    encoded.append((size, parts[0] if len(parts) == 1 else np.concatenate(parts)))
                    size, parts = 0, []
            yield encoded

    def _pieces(self, documents: Iterator[str]) -> Iterator[tuple[str, bool]]:
        """Yield (piece, whether it is its document's last). Only long documents are split, before spaces."""
        for document in documents:
            start = 0
            while self._can_split and len(document) - start > PIECE_CHARACTERS:
                last = start + PIECE_CHARACTERS
                stop = max(document.rfind(space, start + 1, last) for space in " \n")
                if stop < 0:
                    stop = min((at for space in " \n" if (at := document.find(space, last)) >= 0), default=-1)
                if stop < 0:
                    break
                yield document[start:stop], False
                start = stop
            yield document[start:], True

    def _encode_ahead(
        self, batches: Iterator[list[tuple[str, bool]]]
    ) -> Iterator[tuple[list[tuple[str, bool]], list[Any]]]:
        """Yield batches with their encodings, encoding the next batches in the background.

        The library releases the GIL, so that the caller can read and write meanwhile. A second batch in the background
        uses cores that the last texts of the first leave idle.
        """
        pending: deque[tuple[list[tuple[str, bool]], Future[list[Any]]]] = deque()
        pool = ThreadPoolExecutor(AHEAD)
        try:
            for pieces in chain(batches, repeat(None, AHEAD)):  # None: no more batches, drain the queue
                if pieces is not None:
                    texts = [text for text, _ in pieces]
                    pending.append((pieces, pool.submit(self._backend.encode_batch_fast, texts)))
                if pending and (pieces is None or len(pending) > AHEAD):
                    oldest, encodings = pending.popleft()
                    yield oldest, encodings.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(pieces: Iterator[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    batch: list[tuple[str, bool]] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece[0])
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _id_arrays(encodings: list[Any], dtype: np.dtype[Any]) -> list[Ids]:
    lengths = [len(encoding) for encoding in encodings]
    flat = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=dtype, count=sum(lengths))
    return np.split(flat, np.cumsum(lengths)[:-1])


def _splits_at_spaces(backend: Any) -> bool:
    """Whether tokens never depend on text across a space, so that text may be split there. True for BERT's tokenizers.

    Other normalizers may look across spaces, other models may include spaces in their tokens, and added tokens may
    contain spaces.
    """
    state = json.loads(backend.to_str())
    pre_tokenizers = _steps(state["pre_tokenizer"], "pretokenizers")
    return (
        all(_is_local(step) for step in [*_steps(state["normalizer"], "normalizers"), *pre_tokenizers])
        and any(step["type"] == "BertPreTokenizer" for step in pre_tokenizers)
        and state["model"].get("type") == "WordPiece"
        and all(token["special"] for token in state["added_tokens"])
    )


def _steps(part: dict[str, Any] | None, names: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer."""
    if part is None:
        return []
    steps: list[dict[str, Any]] = part[names] if part["type"] == "Sequence" else [part]
    return steps


def _is_local(step: dict[str, Any]) -> bool:
    """Whether a step never looks across a space."""
    if step["type"] in ("Replace", "Split"):
        return step["pattern"].get("Regex") in (ACCENTS, CLUSTERS)
    return step["type"] in ("BertNormalizer", "BertPreTokenizer", "NFD", "NFC")
