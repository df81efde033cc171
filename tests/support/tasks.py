"""What every task has: its fixture, a small vocabulary, and the outputs of a model that knows the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import BertTokenizer

from llmkit.corpus.vocabularies import train_bpe
from llmkit.tasks.base import Task
from llmkit.tasks.label.multilabel import MultiLabel
from llmkit.tasks.label.regression import Regression
from llmkit.tasks.label.task import Classification
from llmkit.tasks.similarity.retrieval import Retrieval
from llmkit.tasks.similarity.rows import texts_of
from llmkit.tasks.similarity.task import Similarity
from llmkit.tasks.span.task import ExtractiveQA
from llmkit.tasks.tags.task import Tagging
from llmkit.tasks.text.task import Seq2Seq
from llmkit.tasks.values import Codec, Outputs

FIXTURES = Path(__file__).parent.parent / "tasks" / "fixtures"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = [chr(number) for number in range(33, 127)]


def fixture(name: str) -> Path:
    """Three rows of a task, as its dataset has them."""
    return FIXTURES / f"{name.replace('/', '-')}.jsonl"


def letters() -> BertTokenizer:
    """A tokenizer that knows every character of ASCII."""
    pieces = [*PIECES, *CHARACTERS, *(f"##{character}" for character in CHARACTERS)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, do_lower_case=False)


def section(task: Task[Any], file: Path) -> Any:
    """The task's data section, with one file for every split."""
    return task.data_class(train=str(file), validation=str(file))


def codec_of(task: Task[Any], examples: Dataset) -> Codec:
    """The vocabularies and labels of a small model for the task."""
    if isinstance(task, Seq2Seq):
        writer = train_bpe([*examples["source"], *examples["target"]] * 2, 400)
        return Codec(writer, decoder_start=writer.cls_token_id)
    return Codec(letters(), labels=task.labels(examples))


def oracle(task: Task[Any], examples: Dataset, codec: Codec, data: Any) -> tuple[Dataset, list[Outputs]]:
    """Features, and the outputs of a model that is right and sure."""
    if isinstance(task, Similarity):
        return task.encode(examples, codec, data, training=False), _vectors(task, examples)
    targets = task.encode(examples, codec, data, training=True)
    features = targets if isinstance(task, Seq2Seq) else task.encode(examples, codec, data, training=False)
    return features, [_outputs(task, row, codec) for row in targets]


def _vectors(task: Similarity, examples: Dataset) -> list[Outputs]:
    """A vector for each text: the cosine of a pair is its score, and what belongs together has the same vector.

    The first texts of scored pairs must be the same or have the same direction.
    """
    texts = texts_of(examples)
    found: dict[str, Any] = {}
    for number, row in enumerate(examples):
        if isinstance(task, Retrieval):
            found[row["text"]] = found[row["pair"]] = np.eye(len(texts), dtype=np.float32)[number]
        else:
            cosine = float(row["label"])
            found.setdefault(row["text"], np.array([1.0, 0.0], np.float32))
            found[row["pair"]] = np.array([cosine, np.sqrt(1 - cosine**2)], np.float32)
    nothing = np.eye(len(texts), dtype=np.float32)[-1]
    return [{"vector": found.get(text, nothing)} for text in texts]


def _outputs(task: Task[Any], row: dict[str, Any], codec: Codec) -> Outputs:
    numbers = np.arange(len(codec.labels))
    match task:
        case ExtractiveQA():
            tokens = np.arange(row["length"])
            return {
                f"{end}_logits": np.where(tokens == row[f"{end}_positions"], 9.0, -9.0).astype(np.float32)
                for end in ("start", "end")
            }
        case Regression():
            return {"logits": np.array([row["label"]], np.float32)}
        case MultiLabel():
            return {"logits": np.where(np.isin(numbers, row["label"]), 9.0, -9.0).astype(np.float32)}
        case Classification():
            return {"logits": np.where(numbers == row["label"], 9.0, -9.0).astype(np.float32)}
        case Tagging():
            wanted = np.array(row["tag_labels"])[:, None]
            return {"logits": np.where(numbers == wanted, 9.0, -9.0).astype(np.float32)}
        case Seq2Seq():
            return {"ids": np.array([codec.decoder_start, *row["target_ids"]]), "score": np.float32(0.0)}
    raise NotImplementedError(f"say here what a perfect model's outputs are for {type(task).__name__}")
