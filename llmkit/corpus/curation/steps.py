"""Steps of our own in datatrove's pipelines: read our sources, write and read files of documents, cut words.

datatrove's own readers know fewer formats, and its tokenizers of words need other packages for each language.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
from datatrove.utils.word_tokenizers import WordTokenizer

from llmkit.corpus.curation.plan import Plan
from llmkit.corpus.words import tokens
from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole
from llmkit.system.json_rows import json_lines

Documents = Iterator[Document]
_SENTENCE_ENDS = ".!?…。！？"
SHINGLES_AT_ONCE = 2**16  # datatrove hashes all of a document at once, which takes a kilobyte a word


class Words(WordTokenizer):  # type: ignore[misc]
    """Our words, and punctuation marks, in any script."""

    def word_tokenize(self, text: str) -> list[str]:
        """See WordTokenizer."""
        return tokens(text)

    def sent_tokenize(self, text: str) -> list[str]:
        """See WordTokenizer."""
        return [text[start:end] for start, end in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """See WordTokenizer: a sentence ends at a full stop before a space, or at a line's end."""
        spans, start = [], 0
        for place, character in enumerate(text):
            after = text[place + 1 : place + 2]
            if character == "\n" or (
                character in _SENTENCE_ENDS and (not after or after.isspace() or after > "\u3000")
            ):
                if text[start : place + 1].strip():
                    spans.append((start, place + 1))
                start = place + 1
        return [*spans, *([(start, len(text))] if text[start:].strip() else [])]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class ReadSources(PipelineStep):  # type: ignore[misc]
    """Yields the documents of a task. Those without text are left out, as in tokenizing."""

    type, name = "READER", "sources"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def run(self, data: Documents | None, rank: int = 0, world_size: int = 1) -> Documents:
        """See PipelineStep."""
        try:
            for number, text in enumerate(self._plan.documents(rank)):
                if text.strip():
                    self.stat_update("total")
                    self.stat_update("bytes", value=len(text.encode()))
                    yield Document(text=text, id=f"{rank:05d}/{number}")
        except UserError as error:
            write_whole(self._plan.error, to_json({"problems": error.problems, "remedy": error.remedy}))
            raise


class ReadKept(PipelineStep):  # type: ignore[misc]
    """Yields the documents that the filters left."""

    type, name = "READER", "kept"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def run(self, data: Documents | None, rank: int = 0, world_size: int = 1) -> Documents:
        """See PipelineStep."""
        file = self._plan.kept(rank)
        if file.exists():  # no file: no documents
            for _, row in json_lines(file):
                yield Document(**row)


class Write(PipelineStep):  # type: ignore[misc]
    """Writes documents to the file of a task, and passes them on. The file is there once it is whole."""

    type, name = "WRITER", "documents"

    def __init__(self, plan: Plan, *, result: bool) -> None:
        super().__init__()
        self._plan, self._result = plan, result

    def run(self, data: Documents, rank: int = 0, world_size: int = 1) -> Documents:
        """See PipelineStep."""
        with _writer(self._plan.result(rank) if self._result else self._plan.kept(rank)) as write:
            for document in data:
                self.stat_update("total")
                self.stat_update("bytes", value=len(document.text.encode()))
                write({"text": document.text, "id": document.id})
                yield document


class Removed:
    """Writes the documents that a filter removes, with its reason: datatrove calls it an exclusion writer."""

    def __init__(self, plan: Plan, why: str) -> None:
        self._plan, self._why = plan, why
        self._open: dict[int, Any] = {}

    def __enter__(self) -> Removed:
        return self

    def write(self, document: Document, rank: int) -> None:
        """Write one."""
        if rank not in self._open:
            context = _writer(self._plan.removed(self._why, rank))
            self._open[rank] = (context, context.__enter__())
        reason = {key: str(value) for key, value in document.metadata.items()}
        self._open[rank][1]({"text": document.text, "id": document.id, **reason})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for context, _ in self._open.values():
            context.__exit__(kind, error, trace)
        self._open.clear()


class Signatures(MinhashDedupSignature):  # type: ignore[misc]
    """MinHash signatures in memory that does not grow with a document."""

    def get_signature(self, shingles: Any) -> list[list[int]]:
        """See MinhashDedupSignature: the minimum over a document is that over its pieces."""
        pieces = [
            super(Signatures, self).get_signature(shingles[start : start + SHINGLES_AT_ONCE])
            for start in range(0, len(shingles), SHINGLES_AT_ONCE)
        ]
        return np.min(np.array(pieces, dtype=np.uint64), axis=0).tolist()  # type: ignore[no-any-return]


@contextmanager
def _writer(path: Path) -> Iterator[Any]:
    """Yield a function that writes a row. The file appears at the end, if anything was written."""
    partial = path.with_name(f".{path.name}.partial")
    stream = None
    path.unlink(missing_ok=True)  # of a task that was killed before it was marked as completed

    def write(row: dict[str, str]) -> None:
        nonlocal stream
        if stream is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = pa.CompressedOutputStream(pa.OSFile(str(partial), "wb"), "zstd")
        stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    yield write
    if stream is not None:
        stream.close()
        partial.replace(path)
