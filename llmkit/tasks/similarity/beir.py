"""Collections for retrieval, as BEIR and NanoBEIR have them: documents, queries, and which documents are relevant.

    FOLDER/corpus.jsonl      _id, title, text        or a folder corpus/ with parquet files, as on the Hub
    FOLDER/queries.jsonl     _id, text               or queries/
    FOLDER/qrels/test.tsv    query-id, corpus-id, score      or qrels/; without a score, all are relevant

On the Hub, the three are configurations of a dataset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.tasks.label.regression import number_text
from llmkit.tasks.rows.formats import file_rows, holds_rows
from llmkit.tasks.values import BadRow, LocatedRow

if TYPE_CHECKING:
    from llmkit.tasks.similarity.sections import SimilarityData

PARTS = ("corpus", "queries")
JUDGED = ("qrels", "default")  # what the judgements are called
SPLITS = {"train": ("train",), "validation": ("validation", "dev", "valid", "test"), "test": ("test",)}


def place_of(data: SimilarityData, split: str) -> str | None:
    """The folder or the Hub id of a collection that the data section names for a split; None if it names other data."""
    named = data.path if data.path is not None else getattr(data, split, None)
    if not isinstance(named, str):
        return None
    folder = Path(named).expanduser()
    if folder.is_dir():
        return str(folder) if all(_files(folder, part) for part in PARTS) else None
    if data.path is None or data.name is not None or folder.exists() or named.startswith((".", "/", "~")):
        return None
    return named if set(PARTS) <= set(_configurations(named, data.revision)) else None


def collection_rows(place: str, data: SimilarityData, split: str) -> Iterator[LocatedRow]:
    """The rows of a collection: its queries with the ids of relevant documents, then its documents.

    Of the training split, pairs of a query and a relevant document. A query with the id of a document, as where both
    are counted from 1, becomes the example `query ID`. Raises UserError.
    """
    folder = Path(place)
    read = _local if folder.is_dir() else _hub
    relevant: dict[str, list[str]] = defaultdict(list)
    for where, row in read(place, data, "qrels", split):
        query, document = (_cell(row, name, where) for name in ("query-id", "corpus-id"))
        if _score(row, where) > 0:
            relevant[query].append(document)
    documents = {
        _cell(row, "_id", where): (where, _whole(row, where)) for where, row in read(place, data, "corpus", split)
    }
    queries = {_cell(row, "_id", where): (where, row) for where, row in read(place, data, "queries", split)}
    _check(place, relevant, documents, queries)
    if split == "train":
        for query, keys in relevant.items():
            where, row = queries[query]
            for key in keys:
                pair = {"anchor": _cell(row, "text", where), "positive": documents[key][1]}
                yield where, {"id": f"{query} {key}", **pair}
        return
    for query, keys in relevant.items():
        where, row = queries[query]
        own = f"query {query}" if query in documents else query
        yield where, {"id": own, "role": "query", "text": _cell(row, "text", where), "relevant": keys}
    for key, (where, text) in documents.items():
        yield where, {"id": key, "role": "document", "text": text, "relevant": []}


def _check(place: str, relevant: Mapping[str, list[str]], documents: Iterable[str], queries: Iterable[str]) -> None:
    known, asked = set(documents), set(queries)
    lost = next((key for keys in relevant.values() for key in keys if key not in known), None)
    if lost is None and (lost := next((query for query in relevant if query not in asked), None)) is None:
        if relevant:
            return
        raise UserError(f"{place}: no query has a relevant document", remedy="give judgements with a score above 0")
    raise UserError(f"{place}: its judgements name {lost!r}, which it does not hold", remedy="download it again")


def _cell(row: Mapping[str, Any], name: str, where: str) -> str:
    if row.get(name) is None:
        raise UserError(f"{where}: no {name!r}; fields are {', '.join(row)}", remedy="give a collection as BEIR has it")
    return str(row[name])


def _score(row: Mapping[str, Any], where: str) -> float:
    """How relevant the document of a judgement is."""
    try:
        return float(number_text(row.get("score", 1), "score"))
    except BadRow as problem:
        raise UserError(f"{where}: {problem}", remedy="give each judgement a number: above 0 is relevant") from problem


def _whole(row: Mapping[str, Any], where: str) -> str:
    """A document's title and text, as BEIR's models read them."""
    return f"{row.get('title') or ''} {_cell(row, 'text', where)}".strip()


def _local(place: str, data: SimilarityData, part: str, split: str) -> Iterator[LocatedRow]:
    folder = Path(place)
    files = _files(folder, part)
    if part == "qrels":
        found = next((file for name in SPLITS.get(split, (split,)) for file in files if file.stem == name), None)
        if found is None and len(files) == 1:
            found = files[0]
        if found is None:
            there = ", ".join(file.name for file in files) or "none"
            raise UserError(
                f"{place} holds no judgements for the split {split} (qrels: {there})", remedy="choose another --split"
            )
        say(f"{place}: judgements are those of {found.relative_to(folder)}")
        files = [found]
    for file in files:
        yield from file_rows(file, ("_id", "text") if part != "qrels" else ("query-id", "corpus-id"))


def _files(folder: Path, part: str) -> list[Path]:
    """The files of a part: FOLDER/PART.jsonl, or those in FOLDER/PART."""
    inside = sorted((folder / part).iterdir()) if (folder / part).is_dir() else []
    own = [file for file in sorted(folder.glob(f"{part}.*")) if file.is_file()] if part != "qrels" else []
    return [file for file in (own or inside) if holds_rows(file.name)]


def _configurations(name: str, revision: str | None) -> list[str]:
    from datasets import get_dataset_config_names

    from llmkit.system.hub import reading_from_the_hub

    with reading_from_the_hub("dataset", name, revision):
        return list(get_dataset_config_names(name, revision=revision))


def _hub(place: str, data: SimilarityData, part: str, split: str) -> Iterator[LocatedRow]:
    from datasets import load_dataset

    from llmkit.system.hub import reading_from_the_hub

    config = part
    if part == "qrels":
        there = _configurations(place, data.revision)
        judged = next((name for name in JUDGED if name in there), None)
        if judged is None:
            raise UserError(
                f"{place} has no judgements; it has {', '.join(there)}",
                remedy="download it into a FOLDER, and its judgements into FOLDER/qrels/test.tsv: BEIR has them in "
                "another dataset, whose name ends in -qrels",
            )
        config = judged
    with reading_from_the_hub("dataset", place, data.revision):
        found = load_dataset(place, config, revision=data.revision)
    wanted = next((name for name in SPLITS.get(split, (split,)) if name in found), None)
    if wanted is None and len(found) == 1:
        wanted = next(iter(found))
    if wanted is None:
        raise UserError(
            f"{place} has no {config} for the split {split}; there are {', '.join(found)}",
            remedy="choose another --split",
        )
    return ((f"{place} {config} row {number}", row) for number, row in enumerate(found[wanted]))
