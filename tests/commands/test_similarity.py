"""Runs of similarity and retrieval, from rows to vectors that others use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from support import Command
from support.runs import command, training_steps, weights
from support.tasks import letters
from transformers import AutoModel, BertConfig, BertForMaskedLM

library = pytest.importorskip("sentence_transformers")  # the extra `embed`

WORDS = ["ship", "sea", "moon", "tree", "wind", "fire", "road", "hill"]
SMALL = ["data.max_length=32", "train.per_device_train_batch_size=8", "train.bf16=false", "model.pretrained=bert"]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder, files of the three forms, runs/scored and runs/pairs."""
    folder = tmp_path_factory.mktemp("similarity")
    torch.manual_seed(1)
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.1, **shape)
    BertForMaskedLM(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    pairs = [(f"the {WORDS[n % 8]} {n}", f"a {WORDS[(n + n % 3) % 8]} number {n}", (5 - n % 3) / 5) for n in range(24)]
    write(folder / "scored.jsonl", [{"sentence1": a, "sentence2": b, "score": score} for a, b, score in pairs])
    write(folder / "pairs.jsonl", [{"anchor": a, "positive": b} for a, b, _ in pairs])
    write(folder / "triplets.jsonl", [{"anchor": a, "positive": b, "negative": "rain"} for a, b, _ in pairs])
    write(folder / "few.jsonl", [{"text": a, "pair": b} for a, b, _ in pairs[:3]])
    for name, task, more in (
        ("scored", "similarity", ["model.pooling=cls"]),
        ("pairs", "retrieval", ["model.matryoshka=[16,4]"]),
    ):
        data = [f"data.{split}={name}.jsonl" for split in ("train", "validation")]
        steps = ["train.max_steps=4", "train.eval_steps=2", "train.learning_rate=1e-3"]
        command(folder, "finetune", "--task", task, "-o", f"runs/{name}", *data, *SMALL, *steps, *more)
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(material: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(material)  # after `llmkit`, which goes to an empty one


def cosines(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    first, second = vectors[0::2], vectors[1::2]
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize(("name", "pooling"), [("scored", "cls"), ("pairs", "mean")])
def test_a_run_is_a_model_of_sentence_transformers(material: Path, llmkit: Command, name: str, pooling: str) -> None:
    folder = material / "runs" / name / "model"
    model = library.SentenceTransformer(str(folder), device="cpu")
    assert model[1].pooling_mode == pooling
    assert model.max_seq_length == 32
    texts = [text for row in map(json.loads, (material / "pairs.jsonl").open()) for text in row.values()]
    expected = model.encode(texts)
    (material / "t.txt").write_text("".join(f"{text}\n" for text in texts))
    code, _, err = llmkit("embed", f"runs/{name}", "t.txt", "-o", f"{name}.parquet", "--raw")
    assert code == 0, err
    found = np.stack(pq.read_table(f"{name}.parquet")["embedding"].to_numpy(zero_copy_only=False))
    assert np.abs(found - expected).max() < 1e-5
    assert AutoModel.from_pretrained(folder).config.hidden_size == 16
    card = (folder / "README.md").read_text()
    assert "SentenceTransformer(" in card
    if name == "scored":
        predicted = [json.loads(line) for line in (material / "runs/scored/predictions.jsonl").read_text().splitlines()]
        assert [float(row["text"]) for row in predicted] == pytest.approx(cosines(expected), abs=1e-5)


def test_its_scores_are_those_of_eval_and_of_its_predictions(llmkit: Command) -> None:
    for name, task in (("scored", "similarity"), ("pairs", "retrieval")):
        own = json.loads(Path(f"runs/{name}/metrics.json").read_text())
        code, out, err = llmkit("eval", f"runs/{name}", "--json")
        assert code == 0, err
        assert json.loads(out) == own
        data = ["--task", task, "--data", f"{name}.jsonl"]
        code, out, err = llmkit("eval", "--predictions", f"runs/{name}/predictions.jsonl", *data, "--json")
        assert (code, json.loads(out)) == (0, own), err


def test_either_task_scores_the_others_models(llmkit: Command) -> None:
    code, out, err = llmkit("eval", "runs/scored", "--task", "retrieval", "--data", "triplets.jsonl", "--json")
    assert code == 0, err
    assert json.loads(out)["documents"] == 25
    code, _, err = llmkit("eval", "runs/pairs", "--task", "similarity", "--data", "scored.jsonl")
    assert code == 0, err
    code, out, err = llmkit("eval", "bert", "--task", "similarity", "--data", "scored.jsonl", "--json")
    assert code == 0, f"any encoder can be scored: {err}"
    code, _, err = llmkit("eval", "runs/pairs", "--task", "similarity", "--data", "pairs.jsonl")
    assert code == 1
    assert "similarity is scored on pairs with a score" in " ".join(err.split())


def test_predict_and_ask_give_cosines(material: Path, llmkit: Command) -> None:
    rows = [json.loads(line) for line in (material / "few.jsonl").read_text().splitlines()]
    for name in ("scored", "pairs"):
        code, _, err = llmkit("predict", f"runs/{name}", "few.jsonl", "-o", f"predicted-{name}.jsonl")
        assert code == 0, err
        found = [json.loads(line) for line in (material / f"predicted-{name}.jsonl").read_text().splitlines()]
        model = library.SentenceTransformer(f"runs/{name}/model", device="cpu")
        expected = cosines(model.encode([text for row in rows for text in row.values()]))
        assert [float(row["text"]) for row in found] == pytest.approx(expected, abs=1e-5)
        code, out, err = llmkit("ask", f"runs/{name}", "-q", rows[0]["text"], "-c", rows[0]["pair"])
        assert (code, float(out)) == (0, pytest.approx(expected[0], abs=1e-4)), err


def test_matryoshka_and_pooling_are_in_the_recipe(llmkit: Command) -> None:
    assert yaml.safe_load(Path("runs/pairs/recipe.yaml").read_text())["model"]["matryoshka"] == [16, 4]
    run = [
        "finetune",
        "--task",
        "retrieval",
        "data.train=pairs.jsonl",
        "data.validation=pairs.jsonl",
        *SMALL,
        "-o",
        "x",
    ]
    for wrong, told in {
        "model.matryoshka=[17]": "model.matryoshka: 17 exceeds the 16 numbers of a vector",
        "model.pooling=last": "model.pooling",
        "train.per_device_train_batch_size=1": "pairs are compared with the others of their batch",
        "--auto-batch": "--auto-batch would change what retrieval learns",
    }.items():
        code, _, err = llmkit(*run, wrong)
        assert code == 1, wrong
        assert told in " ".join(err.split()), wrong


def test_what_is_not_done_says_why(llmkit: Command) -> None:
    for arguments, told in {
        ("explain", "runs/scored", "-t", "a ship"): "a cosine is of two vectors",
        ("export", "runs/scored", "-o", "onnx"): "their graph would end before the pooling",
    }.items():
        code, _, err = llmkit(*arguments)
        assert code == 1
        assert told in " ".join(err.split()), arguments


def test_a_checkpoint_with_more_than_an_encoder_is_refused(material: Path, llmkit: Command) -> None:
    shutil.copytree("runs/scored/model", "prompted", dirs_exist_ok=True)
    file = material / "prompted" / "config_sentence_transformers.json"
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    file.write_text(json.dumps(json.loads(file.read_text()) | prompts))
    train = ["finetune", "--task", "retrieval", "data.train=pairs.jsonl", "data.validation=pairs.jsonl", *SMALL[:-1]]
    for arguments in ([*train, "model.pretrained=prompted", "-o", "x"], ["eval", "prompted", "--data", "scored.jsonl"]):
        code, _, err = llmkit(*arguments)
        assert code == 1
        assert "prompted has a default prompt beside its encoder" in " ".join(err.split())


def test_all_of_it_is_published(material: Path) -> None:
    from llmkit.commands.push import prepare

    upload = prepare(material / "runs" / "scored", "me/model")
    assert {"modules.json", "1_Pooling/config.json", "sentence_bert_config.json"} <= set(upload.files)
    assert "library_name: sentence-transformers" in upload.card
    assert "pipeline_tag: sentence-similarity" in upload.card


def test_mixed_forms_are_refused(material: Path, llmkit: Command) -> None:
    rows = (material / "pairs.jsonl").read_text().splitlines()[:3] + (
        material / "triplets.jsonl"
    ).read_text().splitlines()
    (material / "mixed.jsonl").write_text("\n".join(rows))
    data = ["data.train=mixed.jsonl", "data.validation=scored.jsonl"]
    code, _, err = llmkit("finetune", "--task", "similarity", *data, *SMALL, "-o", "x")
    assert code == 1
    assert "the training examples are not all of one form" in err


def test_two_runs_compare(llmkit: Command) -> None:
    shutil.copytree("runs/pairs", "runs/again", dirs_exist_ok=True)
    code, out, err = llmkit("compare", "runs/pairs", "runs/again")
    assert code == 0, err
    assert "ndcg@10" in out


def test_a_report_shows_either(llmkit: Command) -> None:
    for name in ("cleanlab", "jinja2", "matplotlib", "sklearn"):
        pytest.importorskip(name)  # the extra `report`
    code, _, err = llmkit("report", "runs/scored", "runs/pairs", "-o", "report.html")
    assert code == 0, err
    page = Path("report.html").read_text()
    assert "rank distance" in page
    assert "ndcg@10" in page


def test_a_resumed_run_has_the_same_weights(material: Path, llmkit: Command) -> None:
    """Killed after the checkpoint of step 2, in an epoch with waiting texts."""
    shutil.copytree("runs/pairs", "runs/resumed", dirs_exist_ok=True)
    run = material / "runs" / "resumed"
    shutil.rmtree(run / "model")
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "checkpoints" / "checkpoint-4")
    data = ["data.train=pairs.jsonl", "data.validation=pairs.jsonl", "model.matryoshka=[16,4]"]
    steps = ["train.max_steps=4", "train.eval_steps=2", "train.learning_rate=1e-3"]
    arguments = ["finetune", "--task", "retrieval", *data, *SMALL, *steps, "-o", "runs/resumed", "--resume"]
    code, _, err = llmkit(*arguments)
    assert code == 0, err
    assert weights(run) == weights(material / "runs" / "pairs")
    ours, theirs = (training_steps(path) for path in (run, material / "runs" / "pairs"))
    assert [step["loss"] for step in ours] == [step["loss"] for step in theirs]
