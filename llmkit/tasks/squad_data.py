"""Questions and answers from the Hub or from files: read, brought into canonical columns, checked.

Files may be SQuAD's nested JSON, JSON lines or a JSON list of flat rows, or parquet. A flat row is
{"id", "context", "question", "answers"}, answers being {"text": […], "answer_start": […]} or a list of
{"text", "answer_start"}; "title" may be there, and "id" may be left out of files that have none at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import UserError, did_you_mean
from llmkit.files import parse_json, read_text
from llmkit.hub import reading_from_the_hub

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from llmkit.recipe import DataSection

SPLITS = ("train", "validation", "test")
_SPELLINGS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_FORMATS = (".json", ".jsonl", ".parquet")
_COLUMNS = ("id", "title", "context", "question", "answers")
DEMO = "demo"  # the place of the embedded rows, which also say whether their passage holds a second candidate
MISALIGNED_SHOWN = 3  # problems listed before "and N more"
LAYOUTS = "see https://rajpurkar.github.io/SQuAD-explorer for the nested layout; a JSON line a question is read too"

# One row, and the place to name when something is wrong with it.
_Placed = tuple[str, Mapping[str, Any]]


def load_examples(data: DataSection, splits: Sequence[str], *, null_answers: bool) -> DatasetDict:
    """Checked examples of the splits asked for.

    Raises UserError for a split, file or column that is missing, for a duplicate id, and for an answer that is
    not where it says it is.
    """
    from datasets import DatasetDict

    return DatasetDict({split: _checked(_rows(data, split), split, null_answers) for split in splits})


def _rows(data: DataSection, split: str) -> Iterator[_Placed]:
    if data.path == "demo":
        return _demo_rows(split)
    file = split_file(data, split)
    if file is not None:
        return _file_rows(file)
    if data.path is None:
        raise UserError(f"no {split} data is given", remedy=f"name a file: data.{split}=PATH")
    return _hub_rows(data, split)


def split_file(data: DataSection, split: str) -> Path | None:
    """The local file of a split; None where the data is on the Hub. Raises UserError where there is none."""
    if split not in SPLITS and (data.path is None or Path(data.path).is_dir()):
        raise UserError(
            f"local data has no split {split!r}{did_you_mean(split, SPLITS)}",
            remedy=f"its splits are {', '.join(SPLITS)}",
        )
    if data.path is None:
        name = getattr(data, split)
        if name is None:
            return None
        if not Path(name).is_file():
            raise UserError(f"data.{split}: no such file: {name}", remedy="check the path")
        return Path(name)
    folder = Path(data.path)
    if folder.is_file():
        return folder
    if not folder.is_dir():
        if data.path.endswith(_FORMATS) or data.path.startswith((".", "/", "~")):
            raise UserError(f"data.path: no such file or folder: {data.path}", remedy="check the path")
        return None
    found = sorted(
        file for file in folder.iterdir() if file.suffix in _FORMATS and file.name.startswith(_SPELLINGS[split])
    )
    if len(found) != 1:
        what = f"{len(found)} files: {', '.join(f.name for f in found)}" if found else "no file"
        raise UserError(f"{folder} holds {what} for the split {split}", remedy=f"name one: data.{split}=PATH")
    return found[0]


def _demo_rows(split: str) -> Iterator[_Placed]:
    from llmkit.demo.data import questions

    if split not in ("train", "validation"):
        raise UserError(f"the demo has no split {split!r}", remedy="its splits are train and validation")
    return ((DEMO, row) for row in questions("train" if split == "train" else "validation"))


def _hub_rows(data: DataSection, split: str) -> Iterator[_Placed]:
    from datasets import load_dataset

    assert data.path is not None
    try:
        with reading_from_the_hub("dataset", data.path, data.revision):
            rows = load_dataset(data.path, data.name, split=split, revision=data.revision)
    except ValueError as error:  # an unknown split or configuration
        raise UserError(
            f"{data.path}: {str(error).splitlines()[0]}", remedy="name another with --split or data.name"
        ) from error
    return ((f"{data.path} [{split}] row {number}", row) for number, row in enumerate(rows))


def _file_rows(file: Path) -> Iterator[_Placed]:
    if file.suffix == ".parquet":
        yield from _parquet_rows(file)
        return
    text = read_text(file)
    if file.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"{file}:{number}", parse_json(line, file, number)
        return
    content = parse_json(text, file)
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise UserError(
            f"{file}: neither SQuAD's JSON, an object with a list named 'data', nor a list of rows", remedy=LAYOUTS
        )
    nested = any(isinstance(row, dict) and "paragraphs" in row for row in rows)
    for number, row in enumerate(rows):
        place = f"{file}: data[{number}]"
        if nested:
            yield from _article_rows(place, row)
        else:
            yield place, row


def _article_rows(place: str, article: Any) -> Iterator[_Placed]:
    """Questions of one article: {"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}."""
    for p, paragraph in enumerate(_list(article, "paragraphs", place)):
        inside = f"{place}.paragraphs[{p}]"
        for q, question in enumerate(_list(paragraph, "qas", inside)):
            here = f"{inside}.qas[{q}]"
            if not isinstance(question, dict):
                raise UserError(f"{here}: expected an object", remedy=LAYOUTS)
            inherited = {k: v for k, v in (article | paragraph).items() if k not in ("paragraphs", "qas")}
            impossible: dict[str, Any] = {"answers": []} if question.get("is_impossible") else {}
            yield here, inherited | question | impossible


def _list(value: Any, name: str, place: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UserError(f"{place}: expected an object with a list named {name!r}", remedy=LAYOUTS)
    return found


def _parquet_rows(file: Path) -> Iterator[_Placed]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}: not readable as parquet: {error}", remedy="write or fetch the file again") from None
    yield from ((f"{file} row {number}", row) for number, row in enumerate(table.to_pylist()))


def _checked(rows: Iterator[_Placed], split: str, null_answers: bool) -> Dataset:
    """Canonical columns; raises UserError with the first few problems and the number of all."""
    from datasets import Dataset, Features, List, Value

    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    ambiguous: list[bool] = []
    places: dict[str, str] = {}
    problems: list[str] = []
    for number, (place, row) in enumerate(rows):
        problem = _problem(row, null_answers)
        if problem:
            problems.append(f"{place}: {problem}")
            continue
        example_id = str(row["id"]) if row.get("id") is not None else f"{split}-{number}"
        if example_id in places:
            problems.append(f"{place}: id {example_id!r} is taken by {places[example_id]}")
            continue
        places[example_id] = place
        columns["id"].append(example_id)
        columns["title"].append(row.get("title") or "")
        columns["context"].append(row["context"])
        columns["question"].append(row["question"])
        columns["answers"].append(_answers(row["answers"]))
        if place == DEMO:
            ambiguous.append(row["second_candidate"])
    if problems:
        more = len(problems) - MISALIGNED_SHOWN
        shown = problems[:MISALIGNED_SHOWN] + ([f"… and {more} more like it in the {split} split"] if more > 0 else [])
        raise UserError(*shown, remedy="correct or remove these rows")
    if not places:
        raise UserError(f"the {split} split holds no question", remedy="check the file")
    features = {name: Value("string") for name in _COLUMNS[:-1]}
    answers = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
    examples = Dataset.from_dict(columns, features=Features({**features, "answers": answers}))
    return examples.add_column("second_candidate", ambiguous) if ambiguous else examples


def _problem(row: Any, null_answers: bool) -> str:
    """What is wrong with a row, or nothing."""
    if not isinstance(row, Mapping):
        return "expected an object"
    for name in ("context", "question", "answers"):
        if row.get(name) is None:
            known = [key for key in row if key not in _COLUMNS]
            return f"no {name!r}{did_you_mean(name, known)}; fields are {', '.join(map(str, row))}"
    for name in ("context", "question"):
        if not isinstance(row[name], str) or not row[name].strip():
            return f"{name!r} is empty or not text"
    if not isinstance(row.get("title"), str | None):
        return "'title' is not text"
    for name in ("id", "title", "context", "question"):
        try:
            str(row.get(name)).encode()
        except UnicodeEncodeError:
            return f"{name!r} holds half a surrogate pair, which is no text"
    try:
        answers = _answers(row["answers"])
    except (TypeError, KeyError, AttributeError):
        return "'answers' is neither {'text': […], 'answer_start': […]} nor a list of {'text', 'answer_start'}"
    if len(answers["text"]) != len(answers["answer_start"]):
        return f"'answers' has {len(answers['text'])} texts and {len(answers['answer_start'])} starts"
    if not answers["text"] and not null_answers:
        return "no answer; for questions without an answer use the task squad_v2"
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        if not isinstance(text, str) or not isinstance(start, int) or isinstance(start, bool):
            return "an answer needs a text and a whole number of characters as its start"
        if not text.strip():
            return "an answer is empty"
        found = row["context"][start : start + len(text)] if start >= 0 else ""
        if found != text:
            return f"answer {text!r} is not at character {start} of its context, which reads {found!r} there"
    return ""


def _answers(answers: Any) -> dict[str, list[Any]]:
    if isinstance(answers, Mapping):
        return {"text": list(answers["text"]), "answer_start": list(answers["answer_start"])}
    return {"text": [a["text"] for a in answers], "answer_start": [a["answer_start"] for a in answers]}
