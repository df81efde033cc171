"""The texts of a file, one after another, with an id for each: lines, or a column of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from itertools import chain, islice
from pathlib import Path

from llmkit.corpus.readers import PLAIN
from llmkit.system.cache import fingerprint
from llmkit.system.errors import UserError
from llmkit.system.files import text_lines
from llmkit.system.formats import format_of
from llmkit.system.progress import Progress
from llmkit.tasks.examples import MAX_SHOWN, NO_ROWS, id_of, text_of
from llmkit.tasks.rows.formats import ENDINGS, file_rows
from llmkit.tasks.rows.splits import is_pattern
from llmkit.tasks.values import BadRow, LocatedRow

# A chunk ends at the first of these limits. It holds many batches, which are sorted by length.
CHUNK_TEXTS = 16_384
CHUNK_CHARACTERS = 2_000_000
CHANGED = "run the command again when nothing writes to the file"


def chunk_limits() -> list[int]:
    """What chunks depend on."""
    return [CHUNK_TEXTS, CHUNK_CHARACTERS]


@dataclass(frozen=True)
class Done:
    """The texts that are done: their number, how many of them were cut, and a hash of all."""

    texts: int = 0
    cut: int = 0
    hash: str = ""

    def plus(self, chunk: Chunk, cut: int = 0) -> Done:
        """These texts and one more chunk."""
        return Done(self.texts + len(chunk.texts), self.cut + cut, fingerprint([self.hash, chunk.ids, chunk.texts]))

    def same_texts(self, other: Done) -> bool:
        """Whether these are the same texts."""
        return (self.texts, self.hash) == (other.texts, other.hash)


@dataclass(frozen=True)
class Chunk:
    """Texts and their ids."""

    ids: list[str]
    texts: list[str]


class Texts:
    """The texts of a file, or of the files of a pattern, in chunks that are the same each time they are read.

    A text's id is the `id` of its row, or else the number of its row or line, counted from 0 over all files. Lines
    without text are none.
    """

    def __init__(self, source: str, field: str) -> None:
        """Raises UserError if there is no such file."""
        self.source, self._field = source, field
        names = sorted(glob(source)) if is_pattern(source) else [source]  # noqa: PTH207 - of any path
        self._files = [Path(name) for name in names]
        missing = next((file for file in self._files if not file.is_file()), None if names else Path(source))
        if missing is not None:
            what = "is a folder" if missing.is_dir() else "does not exist"
            raise UserError(
                f"{missing} {what}", remedy=f"give a file of texts, which ends in .txt, {ENDINGS}, or a quoted pattern"
            )

    def chunks(self, first: int = 0, bad: list[str] | None = None) -> Iterator[Chunk]:
        """Chunks of texts. `first` is the number of the text at which a chunk begins.

        What is wrong with a row is added to `bad`. Raises UserError without it.
        """
        chunk, size = Chunk([], []), 0
        for found in islice(self._read(), first, None):
            if isinstance(found, BadRow):
                if bad is None:
                    raise UserError(str(found), remedy=CHANGED)
                bad.append(str(found))
                continue
            chunk.ids.append(found[0])
            chunk.texts.append(found[1])
            size += len(found[1])
            if len(chunk.texts) == CHUNK_TEXTS or size >= CHUNK_CHARACTERS:
                yield chunk
                chunk, size = Chunk([], []), 0
        if chunk.texts:
            yield chunk

    def check(self, before: Done) -> tuple[int, bool]:
        """Check all texts. Returns their number, and whether the first ones are those of `before`.

        Raises UserError for rows without a text, and for a source without any.
        """
        checked, same, bad = Done(), before.texts == 0, list[str]()
        with Progress("checking") as progress:
            for chunk in self.chunks(bad=bad):
                checked = checked.plus(chunk)
                same = same or checked.same_texts(before)
                progress({"": f"{checked.texts:,} texts"})
        if bad:
            more = [f"… and {len(bad) - MAX_SHOWN} more like it in {self.source}"] if len(bad) > MAX_SHOWN else []
            remedy = "correct or remove these rows" if checked.texts else "name the column of the texts with --field"
            raise UserError(*bad[:MAX_SHOWN], *more, remedy=remedy)
        if not checked.texts:
            raise UserError(f"{self.source} holds no text", remedy=NO_ROWS)
        return checked.texts, same

    def _read(self) -> Iterator[tuple[str, str] | BadRow]:
        """Yield the id and the text of each row, or what is wrong with it."""
        for number, (place, row) in enumerate(chain.from_iterable(map(self._rows, self._files))):
            try:
                if isinstance(row, str):
                    if row.strip():
                        yield str(number), row.strip()
                elif isinstance(row, Mapping):
                    yield id_of(row, number), text_of(row, self._field, (self._field,))
                else:
                    raise BadRow(f"expected an object with {self._field!r}")
            except BadRow as problem:
                yield BadRow(f"{place}: {problem}")

    def _rows(self, file: Path) -> Iterator[LocatedRow]:
        if format_of(file.name) not in PLAIN:
            return file_rows(file, (self._field,))
        return ((f"{file}:{number}", line) for number, line in text_lines(file))
