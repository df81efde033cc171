"""CoNLL's columns: separated by blanks or tabs, with comments, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.rows.formats import file_rows
from llmkit.tasks.tags.sections import TagData

pytestmark = pytest.mark.oldest
NER = TASKS["ner"]
CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
# # B-NP O
caf\u00e9\u00a0noir NN I-NP B-MISC

-DOCSTART- -X- -X- O

Peter  NNP B-NP B-PER
"""
TABS = """# id = 7
# text = a b
a b\tO
#ship\tB-X
\t
c\tI-X"""


def load(file: Path) -> list[dict[str, Any]]:
    return list(load_examples(NER, TagData(train=str(file)), ["train"])["train"])


@pytest.mark.parametrize("ending", ["conll", "bio", "iob2", "txt", "train", "testa"])
def test_columns_of_conll(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"eng.{ending}"
    file.write_text(CONLL.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    first, second = load(file)
    assert first["tokens"] == ["EU", "rejects", "#", "café\u00a0noir"]
    assert first["tags"] == ["B-ORG", "O", "O", "B-MISC"]
    assert (second["tokens"], second["tags"]) == (["Peter"], ["B-PER"])


def test_columns_with_tabs_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text(TABS)
    first, second = load(file)
    assert (first["tokens"], first["tags"]) == (["a b", "#ship"], ["O", "B-X"])
    assert second["tokens"] == ["c"]


UNIVERSAL = """# sent_id = 7
# text = Er geht zum Meer und schwimmt gern weit.
1	Er	er	PRON	PPER	Case=Nom	2	nsubj	_	_
2	geht	gehen	VERB	VVFIN	_	0	root	_	_
3-4	zum	_	_	_	_	_	_	_	_
3	zu	zu	ADP	APPR	_	5	case	_	_
4	dem	der	DET	ART	_	5	det	_	_
4.1	x	x	NOUN	NN	_	_	_	_	_
5	Meer	Meer	NOUN	NN	_	2	obl	_	SpaceAfter=No

1	Ja	ja	INTJ	PTKANT	_	0	root	_	_
"""


@pytest.mark.parametrize("ending", ["conllu", "conll"])
def test_universal_dependencies(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"de.{ending}"
    file.write_text(UNIVERSAL, encoding="utf-8")
    for column, tags in (
        (None, ["PRON", "VERB", "ADP", "DET", "NOUN"]),
        ("xpos", ["PPER", "VVFIN", "APPR", "ART", "NN"]),
    ):
        data = TagData(train=str(file), tags_column=column)
        first, second = load_examples(TASKS["pos"], data, ["train"])["train"]
        assert (first["tokens"], first["tags"]) == (["Er", "geht", "zu", "dem", "Meer"], tags)
        assert second["tokens"] == ["Ja"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb\nc O\n", "a.conll:2: 1 column, but the rest of the sentence has 2"),
        ("a O\n\nb\n", "a.conll:3: no 'ner_tags'"),
        ("a O\n\nb  x y O\nc NN O\nd NN O\n", "a.conll:3: 4 columns, but the rest of the sentence has 3"),
        ("a O\n\nb\t\n", "a.conll:3: tag 1 of 'tags' is empty"),
        ("\n\n", "the train split holds no sentence"),
    ],
)
def test_broken_columns(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load(file)
    assert message in str(caught.value)


def test_words_alone_are_to_be_tagged(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Tom\nsails\n\nYes\n")
    rows = [row for _, row in file_rows(tmp_path / "a.txt", NER.columns)]
    assert rows == [{"tokens": ["Tom", "sails"]}, {"tokens": ["Yes"]}]
    with pytest.raises(UserError, match="no sentence of the train split has a label"):
        load(tmp_path / "a.txt")


def test_a_text_beside_data_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a B-X\n")
    data = TagData(path=str(tmp_path))
    assert load_examples(NER, data, ["train"])["train"]["tokens"][:] == [["a"]]
    (tmp_path / "train.jsonl").write_text(json.dumps({"tokens": ["b"], "tags": ["O"]}))
    assert load_examples(NER, data, ["train"])["train"]["tokens"][:] == [["b"]]
