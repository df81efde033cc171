"""Classification and regression: features with their labels, and predictions with their shares."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from support.labels import examples_from, reviews, rows_for

from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import features_of
from llmkit.tasks.label.multilabel import MultiLabel
from llmkit.tasks.label.regression import Regression
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.label.task import Classification
from llmkit.tasks.values import Codec, Prediction

OWN = TASKS["classification"]
LABEL_TASKS = [
    name for name, task in TASKS.items() if isinstance(task, Classification) and not isinstance(task, MultiLabel)
]


@pytest.mark.parametrize("name", LABEL_TASKS)
def test_features_learn_the_labels_by_number(name: str, tokenizer: Any) -> None:
    """Of GLUE those that its files have; a number to learn is itself."""
    task, rows = TASKS[name], rows_for(name)
    examples = examples_from(task, *rows)
    codec = Codec(tokenizer, labels=task.labels(examples))
    features = task.encode(examples, codec, LabelData(path="x"), training=True)
    wanted = [float(row["label"]) for row in rows] if name != "classification" else [0, 1, 0]
    assert features["label"][:] == pytest.approx(wanted)
    assert features.features["label"].dtype == ("float64" if isinstance(task, Regression) else "int64")


@pytest.mark.data
@pytest.mark.parametrize(("name", "size"), [("cola", 527), ("sst2", 872), ("mrpc", 1725)])
def test_real_files_with_numbers_as_labels(name: str, size: int, test_data: Path, tokenizer: Any) -> None:
    task, data = TASKS[f"glue/{name}"], LabelData(path=str(test_data / "classification" / name))
    examples = load_examples(task, data, ["validation"])["validation"]
    assert len(examples) == size
    assert set(examples["label"]) == set(task.names)
    gold = [Prediction(row["id"], row["label"], 1.0) for row in examples]
    assert task.score(gold, examples, data)[task.metric] == pytest.approx(100)
    features = task.encode(examples, Codec(tokenizer, labels=task.names), data, training=True)
    assert [task.names[number] for number in features["label"]] == examples["label"][:]


def test_long_inputs_are_cut_the_longer_text_first(tokenizer: Any) -> None:
    task = TASKS["glue/mrpc"]
    examples = examples_from(
        task,
        {"sentence1": "a b", "sentence2": "sea " * 30, "label": 0},
        {"sentence1": "sea", "sentence2": "calm", "label": 1},
    )
    codec = Codec(tokenizer, labels=task.labels(examples))
    features = task.encode(examples, codec, LabelData(path="x", max_length=16), training=False)
    assert features["cut"][:] == [True, False]
    assert features["length"][:] == [16, 5]
    ids = features["input_ids"][0]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "a", "b", "[SEP]", *["sea"] * 11, "[SEP]"]
    assert features["token_type_ids"][0] == [0] * 4 + [1] * 12
    assert "label" not in features.column_names
    assert features["input_ids"][1] == tokenizer("sea", "calm")["input_ids"], "as transformers has it"


def test_texts_are_cut_on_the_side_that_the_tokenizer_says(tokenizer: Any) -> None:
    left = deepcopy(tokenizer)
    left.truncation_side = "left"
    examples = examples_from(
        OWN, {"text": "sea " * 30 + "calm", "label": "x"}, {"text": "calm " + "sea " * 30, "label": "y"}
    )
    kept = {}
    for each in (left, tokenizer):
        codec = Codec(each, labels=OWN.labels(examples))
        features = features_of(OWN, examples, codec, LabelData(path="x", max_length=16), training=False)
        kept[each.truncation_side] = [each.convert_ids_to_tokens(ids)[1:-1] for ids in features["input_ids"]]
        assert features["input_ids"][:] == each(examples["text"][:], truncation=True, max_length=16)["input_ids"]
    assert kept["left"] == [[*["sea"] * 13, "calm"], ["sea"] * 14]
    assert kept["right"] == [["sea"] * 14, ["calm", *["sea"] * 13]]


def test_predictions_are_shares_of_the_labels(tokenizer: Any) -> None:
    examples = examples_from(OWN, *reviews(2))
    codec = Codec(tokenizer, labels=("negative", "positive"))
    features = Dataset.from_dict({"example": [0, 1]})
    outputs = [{"logits": np.array([1.0, 3.0])}, {"logits": np.array([900.0, -900.0])}]
    first, second = OWN.decode(outputs, features, examples, codec, LabelData(path="x"))
    assert [c.text for c in first.candidates] == ["positive", "negative"]
    assert first.score == pytest.approx(np.exp(2) / (1 + np.exp(2)))
    assert sum(c.probability for c in first.candidates) == pytest.approx(1)
    assert second.text == "negative"
    assert second.score == 1
