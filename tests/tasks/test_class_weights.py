"""Class weights: scikit-learn's numbers, torch's weighted mean over the whole step, names that are refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from support import Command
from support.labels import SHAPE, reviews, write_rows
from torch.nn import CrossEntropyLoss
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.class_weights import weights_of
from llmkit.tasks.head import WeightedLoss
from llmkit.tasks.values import IGNORED, Codec

WEIGHTS = torch.tensor([0.5, 3.0, 1.0])
FILES = ["data.train=a", "data.validation=a"]


def test_balanced_is_what_scikit_learn_says() -> None:
    """compute_class_weight("balanced", classes=["a", "b", "c"], y=["a"] * 6 + ["b"] * 3 + ["c"])"""
    found = weights_of("balanced", ("a", "b", "c"), Counter(a=6, b=3, c=1), {})
    assert found == pytest.approx((0.5555555555555556, 1.1111111111111112, 3.3333333333333335))
    # A label that is known but does not occur is no class there.
    found = weights_of("balanced", ("a", "b", "c", "d"), Counter(a=6, b=3, c=1), {})
    assert found == pytest.approx((0.5555555555555556, 1.1111111111111112, 3.3333333333333335, 1.0))


def test_given_ones_by_label_or_by_group() -> None:
    tags = ("O", "B-LOC", "B-PER", "I-PER")
    types = {"LOC": ["B-LOC"], "PER": ["B-PER", "I-PER"]}
    found = weights_of({"PER": 2.0, "I-PER": 5.0, "O": 0.5}, tags, Counter(), types)
    assert found == (0.5, 1.0, 2.0, 5.0), "a tag's own weight goes before its type's"
    with pytest.raises(UserError) as caught:
        weights_of({"PEER": 2.0, "O": 1.0, "B-ORG": 3.0}, tags, Counter(), types)
    assert caught.value.problems == (
        "train.class_weights: no such label: 'PEER' (did you mean PER?), 'B-ORG' (did you mean B-PER?)",
    )


@pytest.mark.parametrize("shape", [(8,), (4, 6)])
def test_the_loss_is_torchs_weighted_mean_in_pieces_too(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(*shape, 3), torch.randint(3, shape)
    if len(shape) > 1:
        labels[:, 0] = IGNORED
    loss = WeightedLoss(WEIGHTS)
    expected = CrossEntropyLoss(WEIGHTS)(logits.flatten(0, -2), labels.flatten())
    assert loss({"logits": logits}, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    pieces = [labels[:1], labels[1:]]
    total = loss.weight_of(pieces)
    parts = [loss({"logits": part}, its, total) for part, its in zip((logits[:1], logits[1:]), pieces, strict=True)]
    assert sum(parts).item() == pytest.approx(expected.item(), rel=1e-6)  # type: ignore[union-attr]
    assert loss.weight_of([torch.full(shape, IGNORED)]) == 0


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("classification", "x", "should be balanced, or a positive number for each class: {spam: 5}, got 'x'"),
        ("classification", "{a: 0}", "should be balanced, or a positive number for each class"),
        ("ner", "{PER: no}", "should be balanced, or a positive number for each class"),
        ("regression", "balanced", "train.class_weights has no effect on regression, which learns numbers"),
        ("squad", "balanced", "class_weights: unknown key"),
        ("multilabel", "balanced", "class_weights: unknown key"),
    ],
)
def test_what_a_recipe_may_say(task: str, given: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_recipe(FinetuneRecipe, TASKS[task].recipe, [*FILES, f"train.class_weights={given}"], tasks=TASKS)
    assert told in caught.value.problems[0]


def test_numbers_and_truth_are_labels() -> None:
    keys = [*FILES, "train.class_weights={0: 1, true: 2, 3.0: 2.5}"]
    recipe: Any = read_recipe(FinetuneRecipe, TASKS["classification"].recipe, keys, tasks=TASKS)
    assert recipe.train.class_weights == {"0": 1.0, "true": 2.0, "3": 2.5}


def test_the_loss_of_tags_weighs_types() -> None:
    task = TASKS["ner"]
    train = Dataset.from_dict({"tags": [["O", "O", "O", "B-PER"], ["O", "B-LOC", "I-LOC", "O"]]})
    codec = Codec(None, labels=("O", "B-LOC", "I-LOC", "B-PER"))  # type: ignore[arg-type]

    def weights(given: str) -> list[float]:
        recipe = read_recipe(FinetuneRecipe, task.recipe, [f"train.class_weights={given}"], tasks=TASKS)
        loss: Any = task.loss(recipe, codec, train)
        return loss.weights.tolist()

    assert weights("{LOC: 2, O: 0.5}") == [0.5, 2.0, 2.0, 1.0]
    assert weights("balanced") == pytest.approx([8 / (4 * 5), 2.0, 2.0, 2.0])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.labels import PIECES

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(**SHAPE, attention_probs_dropout_prob=0.0)).save_pretrained(folder)
    BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}).save_pretrained(folder)
    return folder


def test_a_run_counts_rare_labels_more_in_pieces_of_any_size(encoder: Path, llmkit: Command, tmp_path: Path) -> None:
    """One positive text among sixteen: without weights the model is still sure of the frequent label."""
    rows = [row for n, row in enumerate(reviews(128)) if n % 2 == 0 or n % 16 == 1]
    write_rows(tmp_path / "rare.jsonl", rows)
    keys = ["-r", "tiny/classification", f"model.pretrained={encoder}", "data.train=rare.jsonl", "data.max_length=16"]
    keys += ["data.validation=rare.jsonl", "train.max_steps=30", "train.learning_rate=1e-2", "train.logging_steps=1"]
    logs, scores = {}, {}
    for name, size, accumulated, weights in (
        ("plain", 24, 1, "null"),
        ("whole", 24, 1, "balanced"),
        ("pieces", 8, 3, "balanced"),
    ):
        sizes = [f"train.per_device_train_batch_size={size}", f"train.gradient_accumulation_steps={accumulated}"]
        code, _, err = llmkit("finetune", *keys, *sizes, f"train.class_weights={weights}", "-o", name)
        assert code == 0, err
        assert ("class weights: negative 0.5" in err) is (weights == "balanced")
        lines = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        logs[name] = [(line["loss"], line["grad_norm"]) for line in lines if "loss" in line]
        scores[name] = json.loads((tmp_path / name / "metrics.json").read_text())["macro_f1"]
    for whole, pieces in zip(logs["whole"], logs["pieces"], strict=True):
        assert pieces == pytest.approx(whole, rel=1e-3)
    assert logs["whole"][0] != pytest.approx(logs["plain"][0], rel=1e-2)
    assert scores["whole"] > scores["plain"]
    code, _, err = llmkit("finetune", *keys, "train.class_weights={positve: 3, neutral: 2}", "-o", "refused")
    assert code == 1
    assert "no such label: 'positve' (did you mean positive?), 'neutral'" in err
