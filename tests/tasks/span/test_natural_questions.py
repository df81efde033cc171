"""Natural Questions: its rows in every form, whole pages in windows, and the official score of short answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from support import Command
from transformers import BertTokenizer

from llmkit.corpus.demo.data import questions
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import examples_of, load_examples
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec, Prediction

NQ = TASKS["natural_questions"]
MARKUP = "<H1> The tide </H1> <P> A tide is the rise of the sea . </P> <Td_colspan=2> 3 < 4 </Td> <Li> Moon </Li>"
PAGE = MARKUP.split(" ")
TEXT = "The tide A tide is the rise of the sea . 3 < 4 Moon"
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789.<"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), "tide", "sea"]
SHAPE = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}"
DATA = SpanData(path="x", max_length=48, doc_stride=8)


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})


def marked(*spans: tuple[int, int], yes_no: Any = "NONE") -> dict[str, Any]:
    """What one person marked, in tokens."""
    return {"short_answers": [{"start_token": a, "end_token": b} for a, b in spans], "yes_no_answer": yes_no}


def simplified(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    row = {"example_id": 7, "question_text": "what is a tide", "document_text": " ".join(PAGE)}
    return {**row, "annotations": list(annotations), **changes}


def released(*annotations: dict[str, Any]) -> dict[str, Any]:
    tokens = [{"token": word, "html_token": word != "<" and word.startswith("<")} for word in PAGE]
    return {
        "example_id": 7,
        "question_text": "what is a tide",
        "document_title": "Tide",
        "document_tokens": tokens,
        "annotations": list(annotations),
    }


def examples_from(*rows: dict[str, Any], labelled: bool = True) -> Dataset:
    """Through `expand`, as loading does it, each row under an id of its own."""
    placed = ((f"row {n}", {**row, "example_id": n} if "example_id" in row else row) for n, row in enumerate(rows))
    return examples_of(NQ, placed, DATA, "train", labelled=labelled)


@pytest.mark.parametrize("form", [simplified, released])
def test_a_page_is_its_words(form: Any) -> None:
    """Each span of words, in characters of the passage, is these words; HTML around and inside is left out."""
    words = [n for n, word in enumerate(PAGE) if word == "<" or not word.startswith("<")]
    spans = [(a, b + 1) for a in words for b in words if a <= b]
    rows = examples_from(*(form(marked(span)) for span in spans))
    for row, (start, end) in zip(rows, spans, strict=True):
        expected = " ".join(PAGE[n] for n in range(start, end) if n in words)
        assert row["context"] == TEXT
        assert row["answers"]["text"] == [expected]
        place = row["answers"]["answer_start"][0]
        assert TEXT[place : place + len(expected)] == expected


def test_html_at_the_ends_of_an_answer_is_left_out() -> None:
    assert examples_from(simplified(marked((4, 6))))["answers"][0] == {"text": ["A"], "answer_start": [9]}


def test_several_spans_of_a_person_are_one_answer_to_train_on() -> None:
    (row,) = examples_from(simplified(marked((12, 13), (6, 7), (9, 10))))
    assert row["answers"]["text"] == ["tide is the rise of the sea"]
    assert row["annotations"][0]["start"] == [TEXT.index("sea"), TEXT.index("tide", 5), TEXT.index("rise")]


@pytest.mark.parametrize(
    ("annotations", "answers"),
    [
        ([marked((6, 7))], 1),
        ([marked()], 0),
        ([marked(yes_no="YES")], 0),
        ([marked((6, 7)), *[marked()] * 4], 0),
        ([marked((6, 7)), marked((6, 8)), *[marked()] * 3], 2),
        ([marked((6, 7)), marked(yes_no="NO"), *[marked()] * 3], 1),
    ],
    ids=["one", "none", "yes", "one of five", "two of five", "one and a no of five"],
)
def test_who_must_have_answered(annotations: list[dict[str, Any]], answers: int) -> None:
    (row,) = examples_from(simplified(*annotations))
    assert len(row["answers"]["text"]) == answers
    assert len(row["annotations"]) == len(annotations)


def test_files_packed_and_not(tmp_path: Path) -> None:
    lines = "".join(json.dumps(simplified(marked((6, 7)), example_id=n)) + "\n" for n in range(3)).encode()
    (tmp_path / "train.jsonl").write_bytes(lines)
    (tmp_path / "nq-train.jsonl.gz").write_bytes(gzip.compress(lines))
    plain = SpanData(train=str(tmp_path / "train.jsonl"))
    packed = SpanData(train=str(tmp_path / "nq-train.jsonl.gz"))
    rows = [load_examples(NQ, data, ["train"])["train"].to_dict() for data in (plain, packed)]
    assert rows[0] == rows[1]
    assert rows[0]["id"] == ["0", "1", "2"]
    (tmp_path / "nq-train.jsonl.gz").write_bytes(gzip.compress(lines)[:-9])
    with pytest.raises(UserError, match=r"nq-train\.jsonl\.gz: damaged after line"):
        load_examples(NQ, packed, ["train"])
    (tmp_path / "nq-train.jsonl.gz").write_bytes(lines)
    with pytest.raises(UserError, match=r"nq-train\.jsonl\.gz: damaged after line 0"):
        load_examples(NQ, packed, ["train"])


def test_each_answer_in_squads_form_is_one_persons() -> None:
    row = {
        "id": "a",
        "context": "a tide",
        "question": "what?",
        "answers": {"text": ["a", "tide"], "answer_start": [0, 2]},
    }
    nothing = {**row, "id": "b", "answers": {"text": [], "answer_start": []}}
    rows = examples_from(row, nothing)
    assert rows["annotations"][0] == [
        {"start": [0], "end": [1], "yes_no": "NONE"},
        {"start": [2], "end": [6], "yes_no": "NONE"},
    ]
    assert rows["annotations"][1] == [{"start": [], "end": [], "yes_no": "NONE"}]


def test_questions_without_annotations_can_be_asked() -> None:
    (row,) = examples_from(simplified(), labelled=False)
    assert (row["context"], row["answers"]) == (TEXT, {"text": [], "answer_start": []})


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no annotations": (simplified(), "no 'annotations', which say what the answer is"),
    "no question": (simplified(marked(), question_text=None), "'question_text' is empty"),
    "no document": ({"example_id": 1, "annotations": []}, "no 'context'"),
    "no words": (simplified(marked(), document_text="<P> </P>"), "the document has no words"),
    "behind the end": (simplified(marked((6, 99))), "a short answer of tokens 6 to 99, but the document has 23"),
    "backwards": (simplified(marked((7, 7))), "a short answer of tokens 7 to 7"),
    "null span": (simplified(marked((-1, -1))), "a short answer of tokens -1 to -1"),
    "only HTML": (simplified(marked((3, 5))), "a short answer of tokens 3 to 5, none of which is a word"),
    "perhaps": (simplified(marked(yes_no="MAYBE")), "'yes_no_answer' is 'MAYBE': neither YES, NO nor NONE"),
    "list": (simplified(marked(yes_no=[])), "'yes_no_answer' is []: neither YES, NO nor NONE"),
    "text": (simplified(annotations="none"), "'annotations' is not a list of objects"),
    "uneven": (simplified(annotations={"short_answers": [], "id": ["1"]}), "not of lists of the same length"),
    "numbers": ({**released(marked()), "document_tokens": [{"token": 3}]}, "a token of the document is not text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows(case: str) -> None:
    row, message = BAD[case]
    with pytest.raises(UserError) as caught:
        examples_from(row)
    assert caught.value.problems[0].startswith("row 0: ")
    assert message in caught.value.problems[0]


def long_page(answer: bool = True) -> dict[str, Any]:
    words = ["tide"] * 200 + ["moon"] + ["tide"] * 200
    return simplified(marked((200, 201)) if answer else marked(), document_text=" ".join(words))


def test_windows_without_an_answer_are_drawn_in_training_alone(tokenizer: Any) -> None:
    examples = examples_from(long_page(), *[long_page(answer=False)] * 4)
    codec = Codec(tokenizer)

    def windows(share: float, *, training: bool = True) -> list[tuple[int, int]]:
        data = DATA.model_copy(update={"null_windows": share})
        made = NQ.encode(examples, codec, data, training=training)
        starts = made["start_positions"][:] if training else made["length"][:]
        return list(zip(made["example"][:], starts, strict=True))

    everything, few = windows(1.0), windows(0.2)
    answered = [window for window in everything if window[1]]
    assert [window for window in few if window[1]] == answered
    assert len(answered) in (1, 2)
    assert 0.1 < (len(few) - len(answered)) / (len(everything) - len(answered)) < 0.3
    assert windows(0.2) == few
    assert len(windows(0.2, training=False)) == len(everything)
    examples = examples_from(long_page(answer=False))
    with pytest.raises(UserError, match=r"no window .* holds an answer, and data.null_windows 1e-09 leaves none"):
        windows(1e-9)


def spans(made: Dataset, logits: list[tuple[float, float, int]]) -> list[dict[str, Any]]:
    """Outputs of windows: the logit of abstaining, that of an answer, and the token it is at."""
    outputs = []
    for length, (null, answer, place) in zip(made["length"], logits, strict=True):
        ends = np.full(length, -9.0, np.float32)
        ends[0], ends[place] = null / 2, answer / 2
        outputs.append({"start_logits": ends, "end_logits": ends})
    return outputs


def test_windows_are_compared_by_what_an_answer_has_over_abstaining(tokenizer: Any) -> None:
    examples = examples_from(long_page())
    codec = Codec(tokenizer)
    made = NQ.encode(examples, codec, DATA, training=False)
    places = [int(np.flatnonzero(np.array(row["offsets"])[::2] >= 0)[n]) for n, row in enumerate(made)]
    sure, loud = (1.0, 6.0), (9.0, 10.0)
    outputs = spans(made, [((*sure, p) if n == 2 else (*loud, p)) for n, p in enumerate(places)])
    (found,) = NQ.decode(outputs, made, examples, codec, DATA)
    assert found.candidates[0].score == pytest.approx(5.0)
    assert found.start == made[2]["offsets"][2 * places[2]]
    assert found.null_score == pytest.approx(-5.0)
    (shy,) = NQ.decode(outputs, made, examples, codec, DATA, threshold=-6.0)
    assert (shy.text, shy.candidates[0]) == ("", found.candidates[0])
    (other,) = TASKS["squad_v2"].decode(outputs, made, examples, codec, DATA)
    assert other.start != found.start


def predicted(example_id: str, span: tuple[int, int] | None, score: float) -> Prediction:
    text = TEXT[slice(*span)] if span else ""
    start, end = span or (None, None)
    return Prediction(example_id, text, 0.5, start, end, null_score=-score)


def test_the_official_score(tokenizer: Any) -> None:
    five = [marked((6, 7)), marked((6, 8)), *[marked()] * 3]
    one = [marked((12, 13)), *[marked()] * 4]
    yes = [marked(yes_no="YES"), marked(yes_no="YES"), *[marked()] * 3]
    examples = examples_from(simplified(*five), simplified(*one), simplified(*yes), simplified(*five))
    tide = (TEXT.index("tide", 5), TEXT.index("tide", 5) + 4)
    sea = (TEXT.index("sea"), TEXT.index("sea") + 3)
    predictions = [
        predicted("0", tide, 9.0),
        predicted("1", sea, 1.0),  # given by one of five: there is no answer, and a low score holds this one back
        predicted("2", tide, 0.0),
        Prediction("3", "tide is", 0.5, null_score=-5.0),  # a file of texts: where it stands first is the place
    ]
    scores = NQ.score(predictions, examples, DATA)
    assert scores["short_precision"] == 100.0
    assert scores["short_recall"] == pytest.approx(100 * 2 / 3)
    assert scores["short_f1"] == pytest.approx(80.0)
    assert scores["short_threshold"] == 5.0
    assert scores["short_with_answer"] == 3
    assert scores["short_all_precision"] == 50.0
    assert scores["HasAns_total"] == 2
    assert scores["total"] == 4
    measures = NQ.measures(predictions, examples, DATA)
    assert {NQ.metric, *NQ.headline} <= set(measures)
    for name, measured in measures.items():
        assert measured.measure.at(np.ones((1, len(examples))))[0] == pytest.approx(scores[name]), name
        assert list(measured.groups) == examples["context"][:]
    fewer = NQ.score(predictions[1:], examples, DATA)
    assert fewer["short_recall"] == pytest.approx(100 / 3)


def test_from_rows_to_scores(tmp_path: Path, llmkit: Command) -> None:
    """The demo's questions as simplified rows of Natural Questions, through the commands."""
    for split, size in (("train", 48), ("validation", 16)):
        rows = []
        for row in questions("train" if split == "train" else "validation")[:size]:
            before = row["context"][: row["answers"]["answer_start"][0]].split(" ")[:-1]
            start = len(before) + 1  # behind <P>
            end = start + len(row["answers"]["text"][0].split(" "))
            page = {"document_text": f"<P> {row['context']} </P>", "question_text": row["question"]}
            rows.append({"example_id": int(row["id"].split("-")[-1]), "annotations": [marked((start, end))], **page})
        packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
        (tmp_path / f"{split}.jsonl.gz").write_bytes(packed)
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    model = [f"model.config={SHAPE}", "model.tokenizer=tokenizer"]
    steps = ["train.max_steps=2", "data.path=.", "data.max_length=128", "data.doc_stride=32"]
    code, out, err = llmkit("finetune", "-r", "tiny/natural_questions", *model, *steps, "-o", "run")
    assert code == 0, err
    assert "short_f1" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["total"] == 16
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    file = "validation.jsonl.gz"
    code, out, err = llmkit(
        "eval", "--predictions", "run/predictions.jsonl", "--task", "natural_questions", "--data", file, "--json"
    )
    assert code == 0, err
    assert json.loads(out) == scores
