"""Score two baselines for text-to-text tasks that need no model, with llmkit's own scores.

They are the first sentence of the source, and the target of the most similar training source.

python benchmarks/baseline.py TASK TRAIN VALIDATION     TRAIN and VALIDATION as in data.train and data.validation
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.text.sections import TextData
from llmkit.tasks.values import Prediction

WORD = re.compile(r"\w+")


def first_sentence(text: str) -> str:
    """The text up to the first sentence end before a capital letter."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def nearest(known: Sequence[str], queries: Sequence[str]) -> list[int]:
    """For each query, the index of the most similar text in `known`, by cosine similarity of TF-IDF vectors."""
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

    query_counts = [Counter(WORD.findall(text.lower())) for text in queries]
    return [int(number) for number in (vectors(query_counts) @ vectors(counts).T).argmax(axis=1)]


def main(name: str, train: Path, validation: Path) -> None:
    """Print the scores of both baselines."""
    task: Any = TASKS[name]
    data = TextData(train=str(train), validation=str(validation))
    examples = load_examples(task, data, ("train", "validation"))
    training, held_out = examples["train"], examples["validation"]
    neighbours = nearest(training["source"][:], held_out["source"][:])
    baselines = {
        "first sentence": [first_sentence(text) for text in held_out["source"]],
        "nearest neighbour": [training["target"][number] for number in neighbours],
    }
    for baseline, texts in baselines.items():
        predictions = [Prediction(id, text, 1.0) for id, text in zip(held_out["id"], texts, strict=True)]
        scores = task.score(predictions, held_out, data)
        print(f"{baseline}: " + ", ".join(f"{key} {scores[key]:.2f}" for key in task.headline))
        print("   " + ", ".join(f"{key} {scores[key]}" for key in scores if key.endswith("_interval")))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
