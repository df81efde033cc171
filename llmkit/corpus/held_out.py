"""Decide what part of a source is held out for validation.

The first document and every 200th after it, since neighbours may be alike. Where that is nothing to train on or too
little to evaluate on, the end of the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from llmkit.corpus.chunks import read_chunk
from llmkit.corpus.encoding import Ids

EVERY = 200  # documents
FEW = 10  # documents: in a source with fewer, the first may be most of the text
BLOCK = 512  # tokens: less than this does not fill the longest usual block


def held_out_end(chunks: Sequence[Path]) -> int | None:
    """The token at which the held-out end of a source begins; None if whole documents are held out.

    The end is a tenth of the source or a block, whichever is more, but never more than half.
    """
    lengths = np.concatenate([np.empty(0, np.int64), *(np.diff(read_chunk(path)[1]) for path in chunks)])
    tokens = int(lengths.sum())
    if len(lengths) >= FEW and lengths[::EVERY].sum() >= BLOCK:
        return None
    return tokens - max(tokens // 10, min(BLOCK, tokens // 2))


def split_documents(chunks: Sequence[Path], end: int | None) -> Iterator[tuple[Ids, Ids, Ids]]:
    """For each chunk of a source: the ids of its documents, their offsets [D + 1], and which are held out [D].

    The document in which the held-out `end` begins is cut in two.
    """
    documents = tokens = 0
    for path in chunks:
        values, offsets, _ = read_chunk(path)
        if end is None:
            held_out = (documents + np.arange(len(offsets) - 1)) % EVERY == 0
        else:
            offsets = np.union1d(offsets, np.clip(end - tokens, 0, len(values)))
            held_out = offsets[:-1] >= end - tokens
        documents, tokens = documents + len(held_out), tokens + len(values)
        yield values, offsets, held_out
