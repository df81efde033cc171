"""Several labels per text: rows of any form, scikit-learn's scores, tuned thresholds, and the commands on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from support import Command
from support.labels import SHAPE, examples_from, write_rows
from transformers import BertConfig, BertForSequenceClassification, pipeline

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.label.average_precision import average_precision, macro_average_precision
from llmkit.tasks.label.multilabel_head import HEAD
from llmkit.tasks.label.multilabel_scores import multilabel_measures, multilabel_scores
from llmkit.tasks.label.thresholds import best_f1_threshold
from llmkit.tasks.values import Candidate, Codec, Prediction

TASK: Any = TASKS["multilabel"]
WORDS = ("calm", "sea", "storm")
# GOLD and LOGITS, [8 examples, 3 labels], and what scikit-learn 1.9 says of them with predictions at logits above 0:
# average_precision_score and f1_score with average None, macro and micro.
GOLD = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], bool)
LOGITS = np.array(
    [
        [2.0, -1.0, -3.0],
        [0.5, 0.5, -1.0],
        [1.0, -2.0, 0.5],
        [-1.0, -0.5, 2.0],
        [2.0, 0.5, -3.0],
        [-1.5, -3.0, -0.5],
        [3.0, 2.0, 0.5],
        [0.5, -1.0, -2.0],
    ]
)
SKLEARN = {
    "average_precision": [0.9166666666666666, 0.8055555555555556, 0.8055555555555556],
    "macro_average_precision": 0.8425925925925926,
    "micro_average_precision": 0.8428571428571429,
    "f1": [0.8, 0.6666666666666666, 0.6666666666666666],
    "macro_f1": 0.7111111111111111,
    "micro_f1": 0.7272727272727273,
}


def rows_of(gold: Any = GOLD) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "labels": [WORDS[k] for k in np.flatnonzero(row)]} for n, row in enumerate(gold)]


def predictions(logits: Any = LOGITS, *, bare: bool = False) -> list[Prediction]:
    found = []
    for number, row in enumerate(logits):
        candidates = tuple(
            Candidate(w, None, None, float(s), float(1 / (1 + np.exp(-s)))) for w, s in zip(WORDS, row, strict=True)
        )
        text = "|".join(word for word, logit in zip(WORDS, row, strict=True) if logit > 0)
        found.append(Prediction(str(number), text, 1.0, candidates=() if bare else candidates))
    return found


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["sea", "calm", "sea"], "calm|sea"),
        ([], ""),
        ("", ""),
        (" sea | calm|", "calm|sea"),
        ("sea", "sea"),
        ([10, 2, True], "10|2|true"),
        ([10, 9], "9|10"),
        (3, "3"),
    ],
)
def test_rows_of_every_form(labels: Any, text: str) -> None:
    assert examples_from(TASK, {"text": "x", "labels": labels})["label"][:] == [text]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (None, "'labels' is empty"),
        ("['calm', 'sea']", "is a list that was written as text"),
        (["a|b"], "'labels' has the label 'a|b', but | separates labels"),
        (["a", None], "'labels' has an empty label"),
        ([0.5], "'labels' is no label but a number"),
    ],
)
def test_rows_that_are_refused(labels: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        examples_from(TASK, {"text": "x", "labels": labels}, {"text": "y", "labels": ["a"]})
    assert told in caught.value.problems[0]


def test_fewer_than_two_labels_are_refused() -> None:
    with pytest.raises(UserError, match="the 2 training examples have only the label 'a'"):
        TASK.labels(examples_from(TASK, {"text": "x", "labels": ["a"]}, {"text": "y", "labels": []}))
    with pytest.raises(UserError, match="none of the 1 examples to score has a label"):
        TASK.check_scores(examples_from(TASK, {"text": "x", "labels": []}), None)


def test_the_scores_are_scikit_learns() -> None:
    scores = multilabel_scores(predictions(), examples_from(TASK, *rows_of()))
    for name in ("macro_average_precision", "micro_average_precision", "macro_f1", "micro_f1"):
        assert scores[name] == pytest.approx(100 * SKLEARN[name]), name
        low, high = scores[f"{name}_interval"]
        assert 0 <= low <= scores[name] <= high <= 100
    for name in ("average_precision", "f1"):
        assert [its[name] for its in scores["per_label"].values()] == pytest.approx([100 * x for x in SKLEARN[name]])
    assert scores["subset_accuracy"] == 100 * 3 / 8
    assert [its["support"] for its in scores["per_label"].values()] == [4, 3, 3]


def test_weights_are_repetitions() -> None:
    """A resample in which an example occurs twice is data in which it does."""
    twice = np.array([0, 0, 1, 3, 3, 5, 6, 7])
    once = multilabel_measures(predictions(), examples_from(TASK, *rows_of()))
    again = multilabel_measures(predictions(LOGITS[twice]), examples_from(TASK, *rows_of(GOLD[twice])))
    weights = np.bincount(twice, minlength=8).astype(float)
    for name, measured in once.items():
        each = weights if len(measured.groups) == 8 else np.repeat(weights, 3)
        expected = again[name].measure.at(np.ones((1, len(again[name].groups))))
        assert measured.measure.at(each[None]) == pytest.approx(expected), name


def test_labels_that_do_not_occur_are_left_out() -> None:
    codes = np.array([0, 1, 2, 2])  # the second label is never gold
    assert np.isnan(average_precision(codes, np.arange(4.0), np.ones((1, 4)))[0, 1])
    assert macro_average_precision(codes, np.arange(4.0), np.ones((1, 4))) == 100.0


def test_missing_bare_and_unknown_predictions() -> None:
    examples = examples_from(TASK, *rows_of())
    whole = multilabel_scores(predictions(), examples)
    missing = multilabel_scores(predictions()[1:], examples)
    assert missing["micro_f1"] < whole["micro_f1"]
    assert missing["macro_average_precision"] < whole["macro_average_precision"]
    empty = multilabel_scores([p for p in predictions() if p.id != "7"], examples)
    assert empty["subset_accuracy"] == whole["subset_accuracy"], "no prediction is not the empty set"
    bare = multilabel_scores(predictions(bare=True), examples)
    assert bare["micro_f1"] == whole["micro_f1"]
    assert bare["tuned"] is None
    first, *others = predictions()
    odd = [Prediction("0", first.text + "|other", 1.0, candidates=first.candidates), *others]
    worse = multilabel_scores(odd, examples)
    assert worse["micro_f1"] < whole["micro_f1"]
    assert worse["macro_f1"] == whole["macro_f1"]


def test_a_threshold_is_the_best_cut_nearest_to_half() -> None:
    gold = np.array([1, 1, 0, 0], bool)
    assert best_f1_threshold(gold, np.array([0.3, 0.2, 0.1, 0.05])) == pytest.approx(0.15)
    assert best_f1_threshold(gold, np.array([0.9, 0.8, 0.4, 0.1])) == pytest.approx(0.6)
    assert best_f1_threshold(np.zeros(4, bool), np.array([0.9, 0.8, 0.4, 0.1])) == 0.5
    # All scores tied: give it to all, or to none, which is worth nothing.
    assert best_f1_threshold(gold, np.full(4, 0.3)) == pytest.approx(0.15)
    generator = np.random.default_rng(0)
    for _ in range(50):
        gold, scores = generator.random(12) < 0.4, generator.integers(1, 9, 12) / 10
        at = best_f1_threshold(gold, scores)
        f1 = [2 * (gold & (scores > t)).sum() / max(1, gold.sum() + (scores > t).sum()) for t in np.arange(21) / 20]
        assert 2 * (gold & (scores > at)).sum() / max(1, gold.sum() + (scores > at).sum()) == pytest.approx(max(f1))


def test_the_loss_is_transformers_own() -> None:
    torch.manual_seed(0)
    config = BertConfig(**SHAPE, num_labels=3, problem_type="multi_label_classification")
    model = BertForSequenceClassification(config).eval()
    codec = Codec(None, labels=WORDS)  # type: ignore[arg-type]
    labels = HEAD.targets([{"label": [0, 2]}, {"label": []}], 5, codec)["labels"]
    assert labels.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    batch = {"input_ids": torch.randint(5, 30, (2, 5)), "labels": labels}
    outputs = model(**batch)
    assert HEAD.loss(outputs, labels).item() == pytest.approx(outputs.loss.item(), rel=1e-6)
    halves = [HEAD.loss({"logits": outputs.logits[n : n + 1]}, labels[n : n + 1], labels.numel()) for n in range(2)]
    assert sum(halves).item() == pytest.approx(outputs.loss.item(), rel=1e-6)  # type: ignore[union-attr]


def texts(count: int) -> list[dict[str, Any]]:
    """Texts whose labels are their words; some have none."""
    sets = [[w for k, w in enumerate(WORDS) if n >> k & 1] for n in range(8)]
    return [{"text": f"{' '.join(sets[n % 8])} {'abcdefgh'[n // 8 % 8]}.", "labels": sets[n % 8]} for n in range(count)]


def test_from_texts_to_a_model_that_others_can_use(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", texts(64))
    # The same rows with numbers whose names are in the file, as datasets of the Hub have them.
    named = Features({"text": Value("string"), "labels": List(ClassLabel(names=list(WORDS)))})
    numbered = [{**row, "labels": [WORDS.index(label) for label in row["labels"]]} for row in texts(32)]
    Dataset.from_list(numbered, features=named).to_parquet(tmp_path / "validation.parquet")
    keys = ["-r", "multilabel-bert-base", f"model.pretrained={encoder}", "data.train=train.jsonl"]
    keys += ["data.validation=validation.parquet", "data.max_length=16", "train.learning_rate=5e-3"]
    keys += ["train.num_train_epochs=30", "train.eval_steps=0.5", "train.warmup_steps=0", "train.logging_steps=0.1"]
    code, out, err = llmkit("finetune", *keys, "-o", "run")
    assert code == 0, err
    assert "3 labels: calm 32 (50%), sea 32 (50%), storm 32 (50%); 1.5 to an example, 8 examples without" in err
    assert "macro_average_precision" in out
    assert "tuned, on the other half" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["macro_average_precision"] > 75, "by chance it is 50"
    assert scores["micro_f1"] > 60
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    thresholds = scores["tuned"]["thresholds"]
    assert json.loads((tmp_path / "run" / "model" / "llmkit.json").read_text())["thresholds"] == thresholds
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "Thresholds are probabilities." in card
    assert "top_k=None" in card

    # A table as people have it, to predict; from the run and from its model alone.
    rows = texts(16)
    table = ["text,labels", *(f"{row['text']},{'|'.join(row['labels'])}" for row in rows)]
    (tmp_path / "table.csv").write_text("\n".join(table) + "\n")
    for name, file in (("run", "found.jsonl"), ("run/model", "again.jsonl")):
        code, _, err = llmkit("predict", name, "table.csv", "-o", file)
        assert code == 0, err
    assert (tmp_path / "found.jsonl").read_text() == (tmp_path / "again.jsonl").read_text()
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    classify = pipeline("text-classification", model=str(tmp_path / "run" / "model"), top_k=None, device="cpu")
    for row, its in zip(rows, found, strict=True):
        theirs = {each["label"]: each["score"] for each in classify([row["text"]])[0]}
        ours = {each["text"]: each["probability"] for each in its["candidates"]}
        assert ours == pytest.approx(theirs, abs=1e-5)
        assert its["text"] == "|".join(word for word in WORDS if ours[word] > thresholds[word])

    code, out, err = llmkit("eval", "run", "--data", "table.csv", "--json")
    assert code == 0, err
    scored = json.loads(out)
    code, out, err = llmkit(
        *("eval", "--predictions", "found.jsonl", "--task", "multilabel", "--data", "table.csv", "--json")
    )
    assert code == 0, err
    assert json.loads(out) == scored
    code, _, err = llmkit("eval", "run", "--task", "classification", "--data", "table.csv")
    assert code == 1
    assert "does not predict the same kind of answers" in err


def test_a_graph_gives_the_same_labels(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write_rows(tmp_path / "rows.jsonl", texts(32))
    keys = ["-r", "multilabel-bert-base", f"model.pretrained={encoder}", "data.train=rows.jsonl", "data.max_length=16"]
    code, _, err = llmkit("finetune", *keys, "data.validation=rows.jsonl", "train.num_train_epochs=1", "-o", "run")
    assert code == 0, err
    code, _, err = llmkit("export", "run", "-o", "graph")
    assert code == 0, err
    assert json.loads((tmp_path / "graph" / "llmkit.json").read_text())["thresholds"]
