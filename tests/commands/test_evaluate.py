"""`llmkit eval`: a run, a checkpoint or predictions in, scores out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizer,
)

from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.inference import TaskEvaluation
from llmkit.tasks.predictions import read_predictions
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec

pytestmark = pytest.mark.oldest
LETTERS = "abcdefghijklmnopqrstuvwxyz.?"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
WINDOWS: dict[str, Any] = {"max_length": 32, "doc_stride": 8, "max_answer_length": 12}


def rows(count: int, *, unanswerable: bool = False) -> list[dict[str, Any]]:
    found = []
    for n in range(count):
        context = f"{'abc def ' * (n % 5)}tom reed founded {LETTERS[n // 2]}mbury."
        answers = {"text": ["tom reed"], "answer_start": [context.index("tom")]}
        if unanswerable and n % 3 == 0:
            answers = {"text": [], "answer_start": []}
        found.append({"id": f"q{n}", "context": context, "question": "who?", "answers": answers})
    return found


def write(file: Path, values: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each task, the bare checkpoint inside them, and their data."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(1)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=32, initializer_range=0.5, **shape)
    model, tokenizer = BertForQuestionAnswering(config), BertTokenizer(vocab={t: n for n, t in enumerate(VOCABULARY)})
    for task in ("squad", "squad_v2"):
        write(folder / f"{task}.jsonl", rows(24, unanswerable=task == "squad_v2"))
        run = folder / f"run-{task}"
        run.mkdir()
        data = {"validation": str(folder / f"{task}.jsonl"), **WINDOWS}
        (run / "recipe.yaml").write_text(json.dumps({"name": "x", "task": task, "data": data}))
        model.save_pretrained(run / "model")
        tokenizer.save_pretrained(run / "model")
    return folder


def scores_of(llmkit: Command, *arguments: str | Path) -> dict[str, Any]:
    code, out, err = llmkit("eval", *map(str, arguments), "--json")
    assert code == 0, err
    scores: dict[str, Any] = json.loads(out)
    return scores


def message(llmkit: Command, *arguments: str | Path) -> str:
    code, out, err = llmkit("eval", *map(str, arguments))
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    return err


def test_the_command_gives_what_the_library_gives(material: Path, llmkit: Command, tmp_path: Path) -> None:
    folder = material / "run-squad" / "model"
    section = SpanData(validation=str(material / "squad.jsonl"), **WINDOWS)
    task = TASKS["squad"]
    tokenizer = load_tokenizer(str(folder))
    examples = load_examples(task, section, ["validation"])["validation"]
    features = task.encode(examples, Codec(tokenizer), section, training=False)
    assert len(features) > len(examples), "some passages take more than one window"
    evaluation = TaskEvaluation(task, examples, features, Codec(tokenizer), section, batch_size=3, bf16=False)
    expected = evaluation(AutoModelForQuestionAnswering.from_pretrained(folder))

    scores = scores_of(llmkit, material / "run-squad", "-o", "scored")
    assert set(scores) == {"exact_match", "f1", "total", "exact_match_interval", "f1_interval"}
    assert scores == expected, "whatever the batches"
    assert scores["total"] == 24
    assert scores["f1_interval"][0] < scores["f1"] < scores["f1_interval"][1]

    # What -o leaves: the same scores, and predictions that give them again.
    assert json.loads((tmp_path / "scored" / "metrics.json").read_text()) == scores
    assert {file.name for file in (tmp_path / "scored").iterdir()} == {"metrics.json", "predictions.jsonl"}
    predictions = read_predictions(tmp_path / "scored" / "predictions.jsonl")
    assert [(p.id, p.text, p.start, p.end) for p in predictions] == [
        (p.id, p.text, p.start, p.end) for p in evaluation.predictions
    ]
    for prediction, example in zip(predictions, examples, strict=True):
        first, *others = prediction.candidates
        assert (first.text, first.start, first.end) == (prediction.text, prediction.start, prediction.end)
        assert len(others) == 19
        assert all(a.score >= b.score for a, b in zip(prediction.candidates, others, strict=False))
        assert all(c.text == example["context"][c.start : c.end] for c in prediction.candidates)
    data: list[str | Path] = ["--data", material / "squad.jsonl", "--task", "squad"]
    assert scores_of(llmkit, "--predictions", "scored/predictions.jsonl", *data) == scores

    assert "scored is in use" in message(llmkit, material / "run-squad", "-o", "scored")


def test_a_table_for_people(material: Path, llmkit: Command) -> None:
    code, out, err = llmkit("eval", str(material / "run-squad_v2"))
    assert code == 0, err
    for part in ("24 questions", "exact_match", "f1", " to ", "HasAns f1", "NoAns f1", "8 questions", "the other half"):
        assert part in out
    assert "BertForQuestionAnswering, 1 × 16" in err


def test_a_bare_checkpoint_is_told_its_task_and_data(material: Path, llmkit: Command) -> None:
    """It says nothing of windows either; its 32 positions are fewer than the default of 384."""
    checkpoint = material / "run-squad" / "model"
    assert "does not say what task" in message(llmkit, checkpoint, "--data", material / "squad.jsonl")
    assert "does not say what data" in message(llmkit, checkpoint, "--task", "squad")
    scores = scores_of(llmkit, checkpoint, "--task", "squad", "--data", material / "squad.jsonl")
    assert scores["total"] == 24


def test_other_data_is_cut_like_the_runs_own(material: Path, llmkit: Command, tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", rows(6))
    run = material / "run-squad"
    assert scores_of(llmkit, run, "--data", "test.jsonl")["total"] == 6
    assert scores_of(llmkit, run, "--data", ".", "--split", "test")["total"] == 6
    assert "no file for the split train" in message(llmkit, run, "--data", ".", "--split", "train")
    assert "no split 'tests' (did you mean test?)" in message(llmkit, run, "--data", ".", "--split", "tests")
    assert "no split 'tests'" in message(llmkit, run, "--split", "tests")
    assert "no test data is given" in message(llmkit, run, "--split", "test")


def test_the_threshold_that_a_run_has_tuned_is_used(material: Path, llmkit: Command, tmp_path: Path) -> None:
    """Below all null scores: everything is left empty; above: nothing is. Its own evaluation tunes it anew."""
    run = material / "run-squad_v2"
    found = {}
    for threshold in (-1e6, 1e6):
        (run / "metrics.json").write_text(json.dumps({"tuned": {"null_threshold": threshold}}))
        found[threshold] = scores_of(llmkit, run)
        # For another task than its own the number means nothing.
        assert scores_of(llmkit, run, "--task", "squad", "--data", material / "squad.jsonl")["total"] == 24
    (run / "metrics.json").unlink()
    assert found[-1e6]["NoAns_f1"] == 100.0
    assert found[-1e6]["HasAns_f1"] == 0.0
    assert found[1e6]["NoAns_f1"] == 0.0
    assert found[-1e6]["tuned"] == found[1e6]["tuned"]
    own = scores_of(llmkit, run, "-o", "scored")
    data: list[str | Path] = ["--data", material / "squad_v2.jsonl", "--task", "squad_v2"]
    assert scores_of(llmkit, "--predictions", "scored/predictions.jsonl", *data) == own


def test_predictions_of_both_forms(material: Path, llmkit: Command, tmp_path: Path) -> None:
    texts = {f"q{n}": "Tom Reed!" if n < 18 else "reed" for n in range(24)}
    (tmp_path / "official.json").write_text(json.dumps(texts))
    write(tmp_path / "ours.jsonl", [{"id": i, "text": text} for i, text in texts.items()])
    data: list[str | Path] = ["--data", material / "squad.jsonl", "--task", "squad"]
    official = scores_of(llmkit, "--predictions", "official.json", *data)
    assert official == scores_of(llmkit, "--predictions", "ours.jsonl", *data)
    assert official["exact_match"] == 75.0
    assert official["f1"] == pytest.approx(75 + 25 * 2 / 3)


def test_ids_that_are_missing_or_unknown(material: Path, llmkit: Command, tmp_path: Path) -> None:
    """A question without a prediction is wrong, even where leaving it unanswered would be right."""
    (tmp_path / "p.json").write_text(json.dumps({"q1": "tom reed", "q3": "", "stranger": "tom reed"}))
    data = ["--data", str(material / "squad_v2.jsonl"), "--task", "squad_v2"]
    code, out, err = llmkit("eval", "--predictions", "p.json", *data, "--json")
    scores = json.loads(out)
    assert (code, scores["total"], scores["HasAns_total"], scores["NoAns_total"]) == (0, 24, 16, 8)
    assert (scores["HasAns_f1"], scores["NoAns_f1"]) == (100 / 16, 100 / 8)
    assert "22 of 24 questions have no prediction and score 0" in err
    (tmp_path / "p.json").write_text(json.dumps({"stranger": "tom reed"}))
    assert f"p.json: none of its ids is in {material}" in message(llmkit, "--predictions", "p.json", *data)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.json", "[]", "p.json: not an object {id: text, …}"),
        ("p.json", '{"q1": 3}', "p.json: not an object {id: text, …}"),
        ("p.json", '{"q1": "a"', "p.json:1: broken JSON"),
        ("p.json", "{}", "p.json has no predictions"),
        ("p.jsonl", "", "p.jsonl has no predictions"),
        ("p.jsonl", '{"id": "q1", "text": "a"}\n\n{"id": ', "p.jsonl:3: broken JSON"),
        ("p.jsonl", '{"id": "q1", "text": "a"}\n{"id": "q1", "text": "b"}', "p.jsonl: id 'q1' occurs twice"),
        ("p.jsonl", '{"id": "q1"}', "p.jsonl:1: not a prediction"),
        ("p.jsonl", '{"id": "q1", "text": "a", "colour": 3}', "p.jsonl:1: not a prediction"),
        ("p.jsonl", '"q1"', "p.jsonl:1: not a prediction"),
        ("p.jsonl", '{"id": 1, "text": "a"}', "p.jsonl:1: 'id' is not text"),
        ("none.json", None, "no such file: none.json"),
    ],
)
def test_predictions_that_are_none(
    name: str, content: str | None, expected: str, material: Path, llmkit: Command, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    data: list[str | Path] = ["--data", material / "squad.jsonl", "--task", "squad"]
    assert expected in message(llmkit, "--predictions", name, *data)


def test_predictions_with_separators_of_unicode(tmp_path: Path) -> None:
    """An answer may hold U+2028, which JSON leaves as it is and `str.splitlines` takes for a line's end."""
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"id": "a", "text": "tom\u2028reed"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [p.text for p in read_predictions(file)] == ["tom\u2028reed"]
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Exception, match="not UTF-8 text"):
        read_predictions(file)


def test_options_that_do_not_go_together(material: Path, llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"q1": "a"}')
    alone: list[str | Path] = ["--predictions", "p.json", "--data", material / "squad.jsonl"]
    assert "neither its task nor its data" in message(llmkit, *alone)
    assert "-o has no effect with --predictions" in message(llmkit, *alone, "--task", "squad", "-o", "x")
    assert "Give a run or model, or --predictions" in message(llmkit, material / "run-squad", *alone)
