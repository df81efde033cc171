"""What needs no model, scored as llmkit scores its own: the first sentence, or the target of the most like source.

python benchmarks/baseline.py TASK TRAIN VALIDATION     rows of a task of texts, as data.train and data.validation
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmkit.recipes.finetuning import TextData
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.values import Prediction

WORD = re.compile(r"\w+")


def first_sentence(text: str) -> str:
    """Up to the first full stop that a space and a capital follow."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def nearest(known: Sequence[str], asked: Sequence[str]) -> list[int]:
    """The number of the most like text of `known` for each of `asked`: cosine of TF-IDF over words."""
    counts = [Counter(WORD.findall(text.lower())) for text in known]
    words = {word: number for number, word in enumerate(sorted(set().union(*counts)))}
    found_in = Counter(word for count in counts for word in count)
    weight = np.log(len(known) / np.array([found_in[word] for word in words]))

    def vectors(texts: Sequence[Counter[str]]) -> np.ndarray:
        table = np.zeros((len(texts), len(words)))
        for row, count in zip(table, texts, strict=True):
            for word, times in count.items():
                if word in words:
                    row[words[word]] = times * weight[words[word]]
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)

    questions = [Counter(WORD.findall(text.lower())) for text in asked]
    return [int(number) for number in (vectors(questions) @ vectors(counts).T).argmax(axis=1)]


def main(name: str, train: Path, validation: Path) -> None:
    """Print both baselines' scores."""
    task: Any = TASKS[name]
    data = TextData(train=str(train), validation=str(validation))
    examples = load_examples(task, data, ("train", "validation"))
    known, asked = examples["train"], examples["validation"]
    written = {
        "first sentence": [first_sentence(text) for text in asked["source"]],
        "nearest neighbour": [known["target"][number] for number in nearest(known["source"][:], asked["source"][:])],
    }
    for baseline, texts in written.items():
        predictions = [Prediction(id, text, 1.0) for id, text in zip(asked["id"], texts, strict=True)]
        scores = task.score(predictions, asked, data)
        print(f"{baseline}: " + ", ".join(f"{key} {scores[key]:.2f}" for key in task.headline))
        print("   " + ", ".join(f"{key} {scores[key]}" for key in scores if key.endswith("_interval")))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
