"""Numbers of one's own: of any size, learned, scored, and predicted in their own unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from support import Command
from support.labels import LETTERS, PIECES, examples_from, write_rows
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from llmkit.models.checkpoint import Checkpoint
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.label.metrics import number_metrics
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.label.standardize import standardize, unstandardize
from llmkit.tasks.values import Codec, Prediction

TASK = TASKS["regression"]
DATA = LabelData(path="x")
SMALL: dict[str, Any] = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_labels": 1,
    "initializer_range": 0.5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
INPUTS = {"input_ids": torch.tensor([[2, 8, 9, 3], [2, 10, 11, 3]])}


def houses(count: int) -> list[dict[str, Any]]:
    """Prices that follow from the first word, and a little from the number of others."""
    rows = []
    for n in range(count):
        price = (150_000, 450_000)[n % 2] + 5_000 * (n % 3)
        rows.append({"body": f"{('storm', 'calm')[n % 2]} {'sea ' * (n % 3)}{LETTERS[n % 26]}.", "price": price})
    return rows


def test_prices_are_learned_and_predicted_in_their_unit(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", houses(48))
    write_rows(tmp_path / "validation.jsonl", houses(20))
    files = ["data.train=train.jsonl", "data.validation=validation.jsonl", "data.max_length=16"]
    columns = ["data.text_column=body", "data.label_column=price"]
    steps = ["train.num_train_epochs=null", "train.max_steps=60", "train.learning_rate=1e-2", "train.eval_steps=0.5"]
    code, out, err = llmkit(
        "finetune", "--task", "regression", f"model.pretrained={encoder}", *files, *columns, *steps, "-o", "run"
    )
    assert code == 0, err
    assert "numbers from 150000 to 460000, mean 305000, standard deviation 150100" in err
    assert "mse (not percent)" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["r2"] > 95
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores, "the saved model gives the numbers of training to the last digit"
    # Any program that loads the model gets prices.
    write_rows(tmp_path / "new.jsonl", [{"body": "calm sea"}])
    code, _, err = llmkit("predict", "run", "new.jsonl", "-o", "found.jsonl")
    assert code == 0, err
    found = float(json.loads((tmp_path / "found.jsonl").read_text())["text"])
    classify = pipeline("text-classification", model=str(tmp_path / "run" / "model"))
    assert classify("calm sea", function_to_apply="none")[0]["score"] == pytest.approx(found, rel=1e-5)
    assert 300_000 < found < 600_000
    assert "in percent; `mse` is in squared units of the numbers" in (tmp_path / "run/model/README.md").read_text()
    # A trained model goes on from where it was.
    one = ["train.num_train_epochs=null", "train.max_steps=1", "train.learning_rate=1e-9"]
    code, _, err = llmkit(
        "finetune", "--task", "regression", "model.pretrained=run", *files, *columns, *one, "-o", "again"
    )
    assert code == 0, err
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["r2"] == pytest.approx(scores["r2"], abs=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        BertForSequenceClassification(BertConfig(**SMALL)),
        RobertaForSequenceClassification(RobertaConfig(**SMALL, pad_token_id=0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_standardized_model_scales_back_outside_training(model: PreTrainedModel) -> None:
    model.eval()
    names = list(model.state_dict())
    plain = model(**INPUTS).logits
    standardize(model, 2000.0, 10.0)
    scaled = model(**INPUTS).logits
    assert torch.allclose(scaled, 10 * plain + 2000, atol=1e-3)
    assert list(model.state_dict()) == names, "checkpoints hold the same weights"
    with torch.autocast("cpu", torch.bfloat16):
        assert model(**INPUTS).logits.dtype == torch.float32, "bf16 holds no year"
    unstandardize(model)
    assert torch.equal(model(**INPUTS).logits, scaled)
    assert list(model.state_dict()) == names
    standardize(model, 2000.0, 10.0, trained=True)
    assert torch.allclose(model(**INPUTS).logits, scaled, atol=1e-3)


def test_training_is_on_standardized_numbers(tokenizer: Any) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SMALL))
    plain = model.train()(**INPUTS).logits
    standardize(model, 2000.0, 10.0)
    assert torch.allclose(model.train()(**INPUTS).logits, plain, atol=1e-4)
    examples = examples_from(TASK, {"text": "a", "label": 1990}, {"text": "b", "label": 2020})
    codec = Codec(tokenizer, labels=("score",), standard=(2000.0, 10.0))
    assert TASK.encode(examples, codec, DATA, training=True)["label"][:] == [-1.0, 2.0]


def test_a_model_without_a_bias_is_refused() -> None:
    model = BertForSequenceClassification(BertConfig(**SMALL))
    model.classifier = torch.nn.Linear(16, 1, bias=False)
    with pytest.raises(UserError, match="a BertForSequenceClassification has no output layer with a bias"):
        standardize(model, 0.0, 1.0)


def test_numbers_of_rows() -> None:
    rows = [{"text": "a", "label": -1}, {"text": "b", "label": "2.5"}, {"text": "c", "label": 1e6}]
    assert examples_from(TASK, *rows)["label"][:] == ["-1.0", "2.5", "1000000.0"], "-1 is a number like any other"
    assert examples_from(TASK, {"text": "a", "score": 3})["label"][:] == ["3.0"]
    large = "'label' is too large: numbers go up to 3.4e+38"
    for label, told in (
        ("1,5", "is not a number: '1,5'"),
        (True, "is not a number"),
        (1e39, large),
        (-(10**400), large),
        (" ", "'label' is empty"),
    ):
        with pytest.raises(UserError) as caught:
            examples_from(TASK, rows[0], {"text": "a", "label": label})
        assert told in str(caught.value)
    with pytest.raises(UserError, match=r"every one of the 2 training examples has the number 3\.0"):
        TASK.labels(examples_from(TASK, {"text": "a", "label": 3}, {"text": "b", "label": "3"}))


def test_what_is_said_of_numbers() -> None:
    examples = examples_from(TASK, *({"text": "a", "label": number} for number in (0.5, 1.5, 4)))
    codec: Any = None
    (line,) = TASK.describe_data(DatasetDict(train=examples, validation=examples), codec)
    assert line == (False, "numbers from 0.5 to 4, mean 2, standard deviation 1.472")
    _, (is_warning, told) = TASK.describe_data(DatasetDict(train=examples, validation=examples.select([0])), codec)
    assert is_warning
    assert told.startswith("validation: all numbers are the same")


# The examples of scikit-learn's documentation of r2_score and mean_squared_error, and constant numbers.
@pytest.mark.parametrize(
    ("gold", "predicted", "r2", "mse"),
    [
        ([3, -0.5, 2, 7], [2.5, 0.0, 2, 8], 0.9486081370449679, 0.375),
        ([1, 2, 3], [2, 2, 2], 0.0, 2 / 3),
        ([1, 2, 3], [3, 2, 1], -3.0, 8 / 3),
        ([2, 2], [1, 3], 0.0, 1.0),
    ],
)
def test_errors_are_those_of_scikit_learn(gold: list[float], predicted: list[float], r2: float, mse: float) -> None:
    found = number_metrics(np.array(gold, float), np.array(predicted, float))
    assert (found["r2"], found["mse"]) == pytest.approx((r2, mse))


def test_scores() -> None:
    examples = examples_from(TASK, *({"text": "a", "label": number} for number in (10, 20, 30, 40)))
    right = [Prediction(str(n), text, 1.0) for n, text in enumerate(("10", "20", "30", "40"))]
    scores = TASK.score(right, examples, DATA)
    assert {name: scores[name] for name in (*TASK.headline, "mse", "total")} == pytest.approx(
        {"pearson": 100, "spearmanr": 100, "r2": 100, "mse": 0, "total": 4}
    )
    missing = TASK.score(right[1:], examples, DATA)
    assert missing["mse"] == 15**2 / 4, "what is missing counts as the mean, 25"
    low, high = missing["mse_interval"]
    assert low <= missing["mse"] <= high
    assert "mse" not in TASKS["glue/stsb"].score(right, examples, DATA)


def test_a_checkpoint_of_a_run_in_training_is_refused(tmp_path: Path) -> None:
    """Its output is standardized."""
    (tmp_path / "recipe.yaml").touch()
    folder = tmp_path / "checkpoints" / "checkpoint-3"
    BertForSequenceClassification(BertConfig(**SMALL)).save_pretrained(folder)
    checkpoint = Checkpoint.named(str(folder))
    recipe: Any = None
    examples = examples_from(TASK, {"text": "a", "label": 1}, {"text": "b", "label": 2})
    for use in (
        lambda: TASK.load_trained(checkpoint, DATA),
        lambda: TASK.codec_to_train(recipe, checkpoint, examples),
    ):
        with pytest.raises(UserError, match="is for --resume: in training, a model outputs standardized") as caught:
            use()
        assert caught.value.remedy == f"name the run, {tmp_path}, or finish it first with --resume"


def test_a_model_of_numbers_is_no_classifier() -> None:
    examples = examples_from(TASKS["classification"], {"text": "a", "label": "x"}, {"text": "b", "label": "y"})
    codec: Any = Codec(None, labels=("score",))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="m knows none of the labels of the data: it has 1 label"):
        TASKS["classification"].check_labels("m", codec, examples)
