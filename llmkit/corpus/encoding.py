"""Documents → token ids: the tokenizer's own, on all cores, in little memory however long a document is.

What the library keeps of a token while it works on it takes some hundred bytes. So text is handed over in small
batches, and a long document in pieces, where that gives the same ids.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = np.ndarray[Any, np.dtype[Any]]

BATCH_CHARACTERS = min(2**21, 2**18 * (os.cpu_count() or 1))  # handed over at once: enough for all cores
PIECE_CHARACTERS = 2**15  # of a long document: a core's work, where a batch holds few documents
AHEAD = 2  # batches in the tokenizer's hands


class Encoder:
    """A tokenizer, for the documents of a corpus. `dtype` holds its ids in as few bytes as they need."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = tokenizer.backend_tokenizer.__class__.from_str(tokenizer.backend_tokenizer.to_str())
        # In a corpus "[MASK]" is six characters that somebody wrote, not a mask.
        self._backend.encode_special_tokens = True
        self.dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)
        self.special = len(self._backend.encode("").ids)  # tokens that every document gets
        self._in_pieces = _reads_words_alone(self._backend) and self.special == 2

    def encode(self, documents: Iterator[str]) -> Iterator[list[tuple[int, Ids]]]:
        """For each document, in order, its size in bytes of UTF-8 and its ids; a list of them a batch."""
        size, parts = 0, list[Ids]()
        for pieces, encodings in self._encoded(_batches(self._pieces(documents))):
            done = []
            for (text, ends), ids in zip(pieces, _ids(encodings, self.dtype), strict=True):
                # Each piece has special tokens at both ends, and a document has them once.
                parts.append(ids[1 if parts else 0 : None if ends else -1])
                size += len(text.encode())
                if ends:
                    done.append((size, parts[0] if len(parts) == 1 else np.concatenate(parts)))
                    size, parts = 0, []
            yield done

    def _pieces(self, documents: Iterator[str]) -> Iterator[tuple[str, bool]]:
        """Documents, the long ones cut before spaces where that may be; with each piece, whether its document ends."""
        for document in documents:
            start = 0
            while self._in_pieces and len(document) - start > PIECE_CHARACTERS:
                last = start + PIECE_CHARACTERS
                stop = max(document.rfind(space, start + 1, last) for space in " \n")
                if stop < 0:
                    stop = min((at for space in " \n" if (at := document.find(space, last)) >= 0), default=-1)
                if stop < 0:
                    break
                yield document[start:stop], False
                start = stop
            yield document[start:], True

    def _encoded(self, batches: Iterator[list[tuple[str, bool]]]) -> Iterator[tuple[list[tuple[str, bool]], list[Any]]]:
        """Batches with their encodings, a few ahead: while the library, which needs no interpreter, works on one
        batch with all cores, its last texts may leave some idle, the next text is read and the last one written."""
        waiting: deque[tuple[list[tuple[str, bool]], Future[list[Any]]]] = deque()
        pool = ThreadPoolExecutor(AHEAD)
        try:
            # Nothing comes after the last batch, AHEAD times, so that all that wait are taken.
            for pieces in chain(batches, repeat(None, AHEAD)):
                if pieces is not None:
                    texts = [text for text, _ in pieces]
                    waiting.append((pieces, pool.submit(self._backend.encode_batch_fast, texts)))
                if waiting and (pieces is None or len(waiting) > AHEAD):
                    done, encodings = waiting.popleft()
                    yield done, encodings.result()
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


def _ids(encodings: list[Any], dtype: np.dtype[Any]) -> list[Ids]:
    lengths = [len(encoding) for encoding in encodings]
    flat = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=dtype, count=sum(lengths))
    return np.split(flat, np.cumsum(lengths)[:-1])


def _reads_words_alone(backend: Any) -> bool:
    """Whether a space always ends what the tokenizer looks at, so that text may be cut there: BERT's does.

    A normalizer of another kind may look further, and so may a model that takes spaces into its tokens, or an
    added token with a space inside.
    """
    state = json.loads(backend.to_str())
    kinds = {name: (state[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")}
    bert = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "model": "WordPiece"}
    return kinds == bert and all(token["special"] for token in state["added_tokens"])
