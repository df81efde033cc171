"""Classification and regression through the commands: trained, scored, and with checkpoints of others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import Command
from support.hub_repos import glue_rows
from support.labels import SHAPE, reviews, write_rows
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_rows(folder / "train.jsonl", reviews(48))
    write_rows(folder / "validation.jsonl", [*reviews(26)[::-1], {"text": "sea", "label": "neutral"}])
    write_rows(folder / "pairs.jsonl", [dict(row, label=n % 6, idx=n) for n, row in enumerate(glue_rows("stsb") * 6)])
    return folder


def test_from_texts_to_scores(encoder: Path, files: Path, llmkit: Command, tmp_path: Path) -> None:
    data = [f"data.train={files}/train.jsonl", f"data.validation={files}/validation.jsonl", "data.max_length=16"]
    train = ["train.num_train_epochs=25", "train.learning_rate=1e-2", "train.eval_steps=0.5"]
    tiny = ["-r", "tiny/classification", f"model.pretrained={encoder}", *data]
    code, out, err = llmkit("finetune", *tiny, *train, "-o", "run")
    assert code == 0, err
    assert "has no classification head for this task: classifier, pooler starts from random weights" in err
    assert "2 labels: negative 24 (50%), positive 24 (50%)" in err
    assert "warning: validation: 1 of 27 examples have a label that does not occur in the training examples" in err
    assert "neutral (1)" in err
    assert "27 examples" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["accuracy"] == pytest.approx(100 * 26 / 27), "all but the label that it never saw"
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    # The same numbers afterwards, from the run and from its predictions.
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    assert "1 of 27 examples have a label that run does not know, and count as wrong: neutral (1)" in err
    predictions = ["--predictions", "run/predictions.jsonl", "--task", "classification", "--json"]
    code, out, err = llmkit("eval", *predictions, "--data", f"{files}/validation.jsonl")
    assert code == 0, err
    assert json.loads(out) == scores
    # Data with columns of other names, for both.
    rows = [json.loads(line) for line in (files / "validation.jsonl").read_text().splitlines()]
    write_rows(tmp_path / "other.jsonl", [{"body": row["text"], "stars": row["label"]} for row in rows])
    columns = ["data.text_column=body", "data.label_column=stars"]
    for command in (["run", *columns, "--json"], [*columns, *predictions]):
        code, out, err = llmkit("eval", *command, "--data", "other.jsonl")
        assert code == 0, err
        assert json.loads(out) == scores
    code, _, err = llmkit("eval", "run", "data.label_colum=stars", "--data", "other.jsonl")
    assert code == 1
    assert "unknown key (did you mean label_column?)" in err
    code, _, err = llmkit("eval", "run", "train.seed=1")
    assert code == 1
    assert "give keys of data" in err.lower()


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(encoder: Path, files: Path, llmkit: Command, tmp_path: Path) -> None:
    data = [f"data.train={files}/train.jsonl", f"data.validation={files}/validation.jsonl", "data.max_length=16"]
    tiny = ["-r", "tiny/classification", f"model.pretrained={encoder}", *data, "train.max_steps=20"]
    code, _, err = llmkit("finetune", *tiny, "-o", "run")
    assert code == 0, err
    two = [sys.executable, "-m", "llmkit", "eval", "run", "--json", "-n", "2"]
    done = subprocess.run(two, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_numbers_are_learned_and_scored(encoder: Path, files: Path, llmkit: Command, tmp_path: Path) -> None:
    data = [f"data.train={files}/pairs.jsonl", f"data.validation={files}/pairs.jsonl", "data.max_length=16"]
    train = "train={max_steps: 4, logging_steps: 1, learning_rate: 1.0e-2}"
    arguments = ["--task", "glue/stsb", f"model.pretrained={encoder}", *data, train]
    code, out, err = llmkit("finetune", *arguments)
    assert code == 0, err
    assert "validation: 18 of them are longer than data.max_length 16, and cut" in err
    assert "labels" not in err
    run = tmp_path / "runs" / "glue-stsb"
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["problem_type"] == "regression"
    assert list(config["id2label"].values()) == ["score"]
    scores = json.loads((run / "metrics.json").read_text())
    assert scores["combined_score"] == pytest.approx((scores["pearson"] + scores["spearmanr"]) / 2)
    file = f"{files}/pairs.jsonl"
    code, out, _ = llmkit(
        "eval", "--predictions", str(run / "predictions.jsonl"), "--data", file, "--task", "glue/stsb", "--json"
    )
    assert json.loads(out) == scores, "predictions are numbers to the last digit"
    losses = [json.loads(line).get("loss") for line in (run / "log.jsonl").read_text().splitlines()]
    numbers = [float(json.loads(line)["label"]) for line in (files / "pairs.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(np.mean(np.square(numbers)), rel=0.3), "the squared error of an output near 0"


def test_accumulation_gives_the_loss_of_the_whole_batch(
    encoder: Path, files: Path, llmkit: Command, tmp_path: Path
) -> None:
    data = [f"data.train={files}/train.jsonl", f"data.validation={files}/train.jsonl", "data.max_length=16"]
    losses = {}
    for batch, steps in ((4, 1), (1, 4)):
        train = (
            f"train={{max_steps: 6, logging_steps: 1, learning_rate: 1.0e-3, per_device_train_batch_size: {batch}, "
            f"gradient_accumulation_steps: {steps}}}"
        )
        run = tmp_path / f"of-{batch}"
        arguments = ["-r", "tiny/classification", f"model.pretrained={encoder}", *data, train, "-o", str(run)]
        code, _, err = llmkit("finetune", *arguments)
        assert code == 0, err
        log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        losses[batch] = [line["loss"] for line in log if "loss" in line]
    assert len(losses[1]) == 6
    assert losses[1] == pytest.approx(losses[4], rel=1e-5)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizer) -> Path:
    """Checkpoints of others, with the same weights and other names for their labels."""
    folder = tmp_path_factory.mktemp("others")
    names = {
        "numbered": ("LABEL_0", "LABEL_1"),
        "capitals": ("NEGATIVE", "POSITIVE"),
        "strangers": ("bad", "good"),
        "three": ("a", "b", "c"),
        "one": ("LABEL_0",),
    }
    for name, labels in names.items():
        torch.manual_seed(3)
        config = BertConfig(**SHAPE, id2label=dict(enumerate(labels)))
        BertForSequenceClassification(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def test_checkpoints_of_others_have_their_labels_named(others: Path, llmkit: Command, tmp_path: Path) -> None:
    rows = [{"sentence": row["text"], "label": row["label"]} for row in reviews(20)]
    write_rows(tmp_path / "named.jsonl", rows)
    write_rows(tmp_path / "numbers.jsonl", [{"text": r["text"], "label": n} for n, r in enumerate(reviews(2))])
    scores = {}
    for name in ("numbered", "capitals"):
        arguments = [str(others / name), "--task", "glue/sst2", "--data", "named.jsonl"]
        code, out, err = llmkit("eval", *arguments, "--json", "-o", name)
        assert code == 0, err
        scores[name] = json.loads(out)
        assert '"text": "positive"' in (tmp_path / name / "predictions.jsonl").read_text()
    assert scores["numbered"] == scores["capitals"]
    code, _, err = llmkit("eval", str(others / "numbered"), "--task", "classification", "--data", "numbers.jsonl")
    assert code == 0, err


@pytest.mark.parametrize(
    ("name", "task", "told"),
    [
        (
            "strangers",
            "glue/sst2",
            "knows none of the labels of the data: it has 2 labels (bad, good), the data 2",
        ),
        ("three", "glue/sst2", "has 3 labels (a, b, c), but glue/sst2 has 2 labels (negative, positive)"),
        ("numbered", "classification", "knows none of the labels of the data: it has 2 labels (0, 1)"),
        ("numbered", "glue/stsb", "has 2 labels (LABEL_0, LABEL_1), but glue/stsb has 1 label (score)"),
    ],
)
def test_labels_that_are_not_those_of_the_data_are_no_score_of_0(
    name: str, task: str, told: str, others: Path, llmkit: Command, tmp_path: Path
) -> None:
    row = {"sentence1": "a", "sentence2": "b"} if task == "glue/stsb" else {"sentence": "a", "text": "a"}
    labels = [1.5, 2.5] if task == "glue/stsb" else ["negative", "positive"]
    write_rows(tmp_path / "rows.jsonl", [{**row, "label": label} for label in labels])
    code, out, err = llmkit("eval", str(others / name), "--task", task, "--data", "rows.jsonl")
    assert code == 1, out
    assert told in err
    assert "Traceback" not in err


def test_a_checkpoint_that_predicts_one_number(others: Path, llmkit: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", glue_rows("stsb"))
    code, out, err = llmkit("eval", str(others / "one"), "--task", "glue/stsb", "--data", "rows.jsonl", "--json")
    assert code == 0, err
    assert set(json.loads(out)) >= {"pearson", "spearmanr", "combined_score"}
