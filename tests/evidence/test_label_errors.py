"""Suspect labels: planted errors are found among labels, tags and sets of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from datasets import Dataset

from llmkit.evidence.label_errors import suspects
from llmkit.tasks import TASKS
from llmkit.tasks.review import Labelling
from llmkit.tasks.values import Candidate, Prediction

pytest.importorskip("cleanlab")
NAMES = ("a", "b", "c")


def planted(rows: int = 600, share: float = 0.05) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """The gold label of each row, of which a share is wrong; a model's probabilities, and the rows that are wrong."""
    generator = np.random.default_rng(1)
    truth = generator.integers(3, size=rows)
    logits = generator.normal(size=(rows, 3))
    logits[np.arange(rows), truth] += 4
    wrong = generator.choice(rows, int(share * rows), replace=False)
    gold = truth.copy()
    gold[wrong] = (truth[wrong] + 1) % 3
    powers = np.exp(logits)
    return gold, powers / powers.sum(axis=1, keepdims=True), set(wrong.tolist())


def found_share(found: Sequence[int], wrong: set[int]) -> tuple[float, float]:
    """(precision of as many as are wrong, the share of the wrong ones that are found at all)."""
    first = found[: len(wrong)]
    return len(wrong.intersection(first)) / len(first), len(wrong.intersection(found)) / len(wrong)


def test_planted_errors_come_first() -> None:
    gold, sure, wrong = planted()
    found = suspects([Labelling(NAMES, gold, sure, np.arange(len(gold)))])
    assert found is not None
    assert found.rows == 600
    precision, recall = found_share([each.example for each in found.found], wrong)
    assert precision > 0.8
    assert recall > 0.8
    worst = found.found[0]
    assert worst.of_given < worst.of_likely
    assert worst.given == NAMES[gold[worst.example]]


def test_labels_that_the_model_lacks_are_not_suspect() -> None:
    """They are known to count as wrong; and a label that never occurs is none that a gold one could be."""
    gold, sure, wrong = planted(300)
    names = [*(NAMES[n] for n in gold)]
    names[0] = "unknown"
    predictions = [
        Prediction(str(row), NAMES[p.argmax()], float(p.max()), candidates=_candidates((*NAMES, "never"), [*p, 0.0]))
        for row, p in enumerate(sure)
    ]
    task = TASKS["classification"]
    data = task.data_class(path="x")
    columns = {"text": [f"text {row}" for row in range(300)], "pair": [None] * 300, "label": names}
    examples = Dataset.from_dict({"id": [str(row) for row in range(300)], **columns})
    (labelling,) = task.review(predictions, examples, data).labellings()
    assert labelling.names == NAMES
    assert 0 not in labelling.examples
    found = suspects([labelling])
    assert found is not None
    precision, recall = found_share([each.example for each in found.found], wrong - {0})
    assert precision > 0.8
    assert recall > 0.8


def test_planted_tags() -> None:
    gold, sure, wrong = planted(600)
    tags = ("O", "B-PER", "B-LOC")
    rows = [range(start, start + 6) for start in range(0, 600, 6)]
    examples = Dataset.from_dict(
        {
            "id": [str(number) for number in range(100)],
            "tokens": [[f"w{row}" for row in its] for its in rows],
            "tags": [[tags[gold[row]] for row in its] for its in rows],
        }
    )
    predictions = [
        Prediction(
            str(number),
            " ".join(tags[sure[row].argmax()] for row in its),
            0.9,
            entities=(),
            tags=tuple(dict(zip(tags, sure[row].tolist(), strict=True)) for row in its),
        )
        for number, its in enumerate(rows)
    ]
    task = TASKS["ner"]
    review = task.review(predictions, examples, task.data_class(path="x"))
    found = suspects(review.labellings())
    assert found is not None
    places = [6 * each.example + int(each.place.split(",")[0].removeprefix("word ")) - 1 for each in found.found]
    precision, recall = found_share(places, wrong)
    assert precision > 0.8
    assert recall > 0.8
    assert f"'w{places[0]}'" in found.found[0].place


def test_planted_sets_of_labels() -> None:
    generator = np.random.default_rng(2)
    truth = generator.random((400, 2)) < 0.4
    wrong = set(generator.choice(400, 20, replace=False).tolist())
    gold = truth.copy()
    for row in wrong:
        gold[row, 0] ^= True  # the label "sea" is given or taken
    logits = np.where(truth, 3.0, -3.0) + generator.normal(size=truth.shape)
    sure = 1 / (1 + np.exp(-logits))
    names = ("sea", "war")
    ids = [str(row) for row in range(400)]
    sets = ["|".join(name for name, its in zip(names, row, strict=True) if its) for row in gold]
    examples = Dataset.from_dict({"id": ids, "text": ids, "pair": [None] * 400, "label": sets})
    predictions = [
        Prediction(ids[row], "|".join(n for n, p in zip(names, sure[row], strict=True) if p > 0.5), 0.9,
                   candidates=_candidates(names, sure[row].tolist()))
        for row in range(400)
    ]  # fmt: skip
    task = TASKS["multilabel"]
    found = suspects(task.review(predictions, examples, task.data_class(path="x")).labellings())
    assert found is not None
    assert found.rows == 800
    assert {each.given for each in found.found[:20]} <= {"sea", "not sea"}
    assert found_share([each.example for each in found.found], wrong)[0] > 0.8


def test_one_label_has_no_suspects() -> None:
    assert suspects([Labelling(("a",), np.zeros(5, int), np.ones((5, 1)), np.arange(5))]) is None
    assert suspects([]) is None


def _candidates(names: Sequence[str], probabilities: Sequence[float]) -> tuple[Candidate, ...]:
    each = [Candidate(name, None, None, 0.0, float(p)) for name, p in zip(names, probabilities, strict=True)]
    return tuple(sorted(each, key=lambda candidate: -candidate.probability))
