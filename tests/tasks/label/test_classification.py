"""Classification and regression: rows, labels, features, predictions, scores, and the commands on them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from support import Command
from support.hub_repos import glue_rows
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizer

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import examples_of, load_examples
from llmkit.tasks.label import confusion
from llmkit.tasks.label.correlation import correlations
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.label.task import Classification, Regression
from llmkit.tasks.values import Codec, Prediction

OWN = TASKS["classification"]
LETTERS = "abcdefghijklmnopqrstuvwxyz.,?'"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), "calm", "storm", "sea"]
LABEL_TASKS = [name for name, task in TASKS.items() if isinstance(task, Classification)]
SHAPE: dict[str, Any] = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizer) -> Path:
    """A checkpoint of a few thousand random weights, to fine-tune."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(**SHAPE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def reviews(count: int, names: Sequence[Any] = ("negative", "positive")) -> list[dict[str, Any]]:
    """Rows whose label is in their first word."""
    words = ("storm", "calm")
    return [
        {"text": f"{words[n % 2]} {'sea ' * (n % 5)}{LETTERS[n % 26]}.", "label": names[n % 2]} for n in range(count)
    ]


def examples_from(task: Any, *rows: dict[str, Any], **data: Any) -> Dataset:
    placed = ((f"row {number}", row) for number, row in enumerate(rows))
    return examples_of(task, placed, LabelData(path="x", **data), "train", labelled=True)


def rows_for(name: str) -> list[dict[str, Any]]:
    return glue_rows(name.removeprefix("glue/")) if name != "classification" else reviews(3)


@pytest.mark.parametrize("name", LABEL_TASKS)
def test_features_learn_the_labels_by_number(name: str, tokenizer: Any) -> None:
    """Of GLUE those that its files have; a number to learn is itself."""
    task, rows = TASKS[name], rows_for(name)
    examples = examples_from(task, *rows)
    codec = Codec(tokenizer, labels=task.labels(examples))
    features = task.encode(examples, codec, LabelData(path="x"), training=True)
    wanted = [row["label"] for row in rows] if name != "classification" else [0, 1, 0]
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


FORMS: dict[str, Callable[[Path, list[dict[str, Any]]], object]] = {
    "rows.jsonl": write_rows,
    "rows.json": lambda file, rows: file.write_text(json.dumps(rows)),
    "rows.csv": lambda file, rows: write_table(file, rows, ","),
    "rows.tsv": lambda file, rows: write_table(file, rows, "\t"),
    "rows.parquet": lambda file, rows: pq.write_table(pa.Table.from_pylist(rows), file),
}


def write_table(file: Path, rows: list[dict[str, Any]], separator: str) -> None:
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=separator, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)


def test_files_of_every_form_and_columns_of_any_name(tmp_path: Path) -> None:
    rows = [
        {"review": "it is calm, he said", "about": "sea", "stars": 5},
        {"review": "a storm", "about": "", "stars": 10},
    ]
    loaded = []
    for name, write in FORMS.items():
        write(tmp_path / name, rows)
        columns = {"text_column": "review", "pair_column": "about", "label_column": "stars"}
        data = LabelData(train=str(tmp_path / name), **columns)
        loaded.append(load_examples(OWN, data, ["train"])["train"].to_list())
    assert all(rows == loaded[0] for rows in loaded)
    assert loaded[0][1] == {"id": "1", "text": "a storm", "pair": "", "label": "10"}


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([10, 2, -1], ("-1", "2", "10")),
        (["10", "9"], ("9", "10")),
        ([1.0, 0.0], ("0", "1")),
        ([True, False], ("false", "true")),
        (["2", "x", "10"], ("10", "2", "x")),
        ([" a", "b "], ("a", "b")),
    ],
)
def test_labels_are_text_and_numbered_by_value_or_alphabet(given: list[Any], labels: tuple[str, ...]) -> None:
    assert OWN.labels(examples_from(OWN, *({"text": "a", "label": label} for label in given))) == labels


BAD_ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "text column": (
        "classification",
        {"txt": "a", "label": 1},
        "no 'text' (did you mean txt?); data.text_column names another column: there are txt, label",
    ),
    "label column": (
        "classification",
        {"text": "a", "labels": 1},
        "no 'label' (did you mean labels?); data.label_column names another column",
    ),
    "pair column": ("glue/mnli", {"premise": "a", "label": 1}, "no 'hypothesis'; data.pair_column names another"),
    "number": ("classification", {"text": 7, "label": 1}, "'text' is not text"),
    "empty": ("classification", {"text": " ", "label": 1}, "'text' is empty"),
    "empty pair": ("glue/qqp", {"question1": "", "question2": " ", "label": 1}, "'question1' is empty"),
    "surrogate": ("classification", {"text": "\ud800", "label": 1}, "'text' holds half a surrogate pair"),
    "surrogate label": ("classification", {"text": "a", "label": "\ud800"}, "'label' holds half a surrogate pair"),
    "share": ("classification", {"text": "a", "label": 0.5}, "'label' is neither text nor a whole number: 0.5"),
    "list": ("classification", {"text": "a", "label": [1]}, "'label' is neither text nor a whole number: [1]"),
    "no label": ("classification", {"text": "a", "label": None}, "'label' is empty"),
    "not a number": ("classification", {"text": "a", "label": float("nan")}, "'label' is empty"),
    "blank label": ("classification", {"text": "a", "label": " "}, "'label' is empty"),
    "unknown name": (
        "glue/sst2",
        {"sentence": "a", "label": "positiv"},
        "'label' is 'positiv' (did you mean positive?); labels are negative, positive, or their numbers 0 to 1",
    ),
    "unknown number": ("glue/sst2", {"sentence": "a", "label": 2}, "'label' is '2'; labels are negative, positive"),
    "truth": ("glue/qnli", {"question": "a", "sentence": "b", "label": True}, "'label' is 'true'; labels are"),
    "no regression": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": "high"}, "'label' is not a number"),
    "infinite": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": "inf"}, "'label' is not a number: 'inf'"),
    "truth as number": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": True}, "'label' is not a number"),
    "secret number": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": -1.0}, "kept secret"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named_with_their_place(case: str) -> None:
    name, row, told = BAD_ROWS[case]
    good = rows_for(name)[0]
    with pytest.raises(UserError) as caught:
        examples_from(TASKS[name], good, row)
    assert str(caught.value).startswith(f"row 1: {told}") or told in str(caught.value)
    assert caught.value.remedy == "correct or remove these rows"


def test_without_labels_a_row_needs_none() -> None:
    rows = [("row 0", {"text": "a"}), ("row 1", {"text": "b", "label": 0.5})]
    examples = examples_of(OWN, rows, LabelData(path="x"), "input", labelled=False)
    assert examples["label"][:] == [None, None]


def test_a_folder_with_the_two_parts_of_mnli(tmp_path: Path) -> None:
    for name in ("train", "dev_matched", "dev_mismatched"):
        write_rows(tmp_path / f"{name}.jsonl", glue_rows("mnli"))
    mnli = TASKS["glue/mnli"]
    examples = load_examples(mnli, LabelData(path=str(tmp_path)), ["validation"])["validation"]
    ids = [f"validation_{part}-{number}" for part in ("matched", "mismatched") for number in range(3)]
    assert examples["id"][:] == ids
    # Right on all of the first, on two of the second.
    texts = [*examples["label"][:5], "entailment"]
    predictions = [Prediction(i, text, 1.0) for i, text in zip(ids, texts, strict=True)]
    scores = mnli.score(predictions, examples, LabelData(path="x"))
    assert scores["accuracy"] == 100
    assert scores["accuracy_mismatched"] == pytest.approx(200 / 3)
    low, high = scores["accuracy_mismatched_interval"]
    assert low < scores["accuracy_mismatched"] < high
    file = str(tmp_path / "dev_matched.jsonl")
    for one in ({"path": file}, {"validation": file}):
        assert "part" not in load_examples(mnli, LabelData(**one), ["validation"])["validation"].column_names


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


# Of scikit-learn 1.9.1 (accuracy_score, f1_score of label 1, its macro average, matthews_corrcoef), in percent.
OFFICIAL_LABELS = [
    ("0110010111", "0100011101", (70.0, 72.72727272727273, 69.6969696969697, 40.8248290463863)),
    ("0000000011", "0000000000", (80.0, 0.0, 44.44444444444444, 0.0)),
    ("1111", "1111", (100.0, 100.0, 100.0, 0.0)),
    ("0120120121", "0121120022", (70.0, 57.14285714285714, 69.84126984126985, 56.060606060606055)),
    ("0101", "1010", (0.0, 0.0, 0.0, -100.0)),
]


@pytest.mark.parametrize(("gold", "predicted", "official"), OFFICIAL_LABELS)
def test_scores_of_labels_are_those_of_scikit_learn(gold: str, predicted: str, official: tuple[float, ...]) -> None:
    counts = confusion.counts_of(list(gold), list(predicted), sorted({*gold, *predicted, "0", "1"}))
    names = ("accuracy", "f1", "macro_f1", "matthews_correlation")
    assert [100 * float(confusion.SCORES[name](counts)) for name in names] == pytest.approx(official)
    assert confusion.combined_score(counts) == (confusion.accuracy(counts) + confusion.f1(counts)) / 2


# Of SciPy 1.17.1: pearsonr and spearmanr.
OFFICIAL_NUMBERS = [
    ([0, 1, 2, 3, 4, 5], [0.1, 0.9, 2.2, 2.8, 4.1, 4.7], (0.9953631712903918, 1.0)),
    ([3.8, 0, 1.25, 2, 2], [2, 2, 1, 0.5, 3], (0.08640257434236487, 0.10526315789473685)),
    ([1, 2, 3], [2, 2, 2], (0.0, 0.0)),
]


@pytest.mark.parametrize(("gold", "predicted", "official"), OFFICIAL_NUMBERS)
def test_correlations_are_those_of_scipy(
    gold: list[float], predicted: list[float], official: tuple[float, ...]
) -> None:
    found = correlations(np.array(gold, float), np.array(predicted, float))
    assert (found["pearson"], found["spearmanr"]) == pytest.approx(official)
    assert found["combined_score"] == pytest.approx(sum(official) / 2)


def test_an_example_without_a_prediction_counts_as_wrong() -> None:
    examples = examples_from(OWN, *reviews(40))
    right = [Prediction(row["id"], row["label"], 1.0) for row in examples]
    scores = OWN.score(right[:30], examples, LabelData(path="x"))
    assert scores["accuracy"] == 75
    assert scores["macro_f1"] == pytest.approx(100 * 30 / 35)
    low, high = scores["accuracy_interval"]
    # Of 40 draws with a share of 0.75: 1.96 times their standard deviation.
    assert 75 - low == pytest.approx(196 * np.sqrt(0.75 * 0.25 / 40), abs=2.6)
    assert high - 75 == pytest.approx(196 * np.sqrt(0.75 * 0.25 / 40), abs=2.6)
    stsb = TASKS["glue/stsb"]
    numbers = examples_from(stsb, *glue_rows("stsb"))
    missing = stsb.score([Prediction("0", "3.8", 1.0)], numbers, LabelData(path="x"))
    zeros = [Prediction("0", "3.8", 1.0), Prediction("1", "0", 1.0), Prediction("2", "0", 1.0)]
    assert missing == stsb.score(zeros, numbers, LabelData(path="x"))


def test_predictions_of_another_kind() -> None:
    sst2, stsb = TASKS["glue/sst2"], TASKS["glue/stsb"]
    examples = examples_from(sst2, *glue_rows("sst2"))
    numbers = [Prediction(str(n), label, 1.0) for n, label in enumerate("101")]
    assert sst2.score(numbers, examples, LabelData(path="x"))["accuracy"] == 100
    with pytest.raises(UserError, match="no prediction is a label of the task: the first is 'good'"):
        sst2.score([Prediction("0", "good", 1.0)], examples, LabelData(path="x"))
    with pytest.raises(UserError, match="the prediction for 1 is 'high', which is no number"):
        stsb.score([Prediction("1", "high", 1.0)], examples_from(stsb, *glue_rows("stsb")), LabelData(path="x"))


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
    assert "has no such classification head yet: classifier, pooler starts from random weights" in err
    assert "2 labels: negative 24 (50%), positive 24 (50%)" in err
    assert "warning: validation: 1 of 27 examples have a label that the training examples never show" in err
    assert "neutral (1)" in err
    assert "27 examples" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["accuracy"] == pytest.approx(100 * 26 / 27), "all but the label that it never saw"
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    # The same numbers afterwards, from the run, on two processes, and from its predictions.
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    assert "1 of 27 examples have a label that run does not know, and count as wrong: neutral (1)" in err
    two = [sys.executable, "-m", "llmkit", "eval", "run", "--json", "-n", "2"]
    done = subprocess.run(two, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == scores
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
        ("three", "glue/sst2", "has 3 labels (a, b, c), glue/sst2 2 labels (negative, positive)"),
        ("numbered", "classification", "knows none of the labels of the data: it has 2 labels (0, 1)"),
        ("numbered", "glue/stsb", "has 2 labels (LABEL_0, LABEL_1), glue/stsb 1 label (score)"),
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
