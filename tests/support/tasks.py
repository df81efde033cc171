"""What goes for every task: its fixture, a small vocabulary, and the outputs of a model that knows the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import BertTokenizer

from llmkit.corpus.tokenizer import train_bpe
from llmkit.recipes.finetuning import data_class
from llmkit.tasks.values import Codec, Outputs

FIXTURES = Path(__file__).parent.parent / "tasks" / "fixtures"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = [chr(number) for number in range(33, 127)]


def fixture(name: str) -> Path:
    """Three rows of a task, as its data set has them."""
    return FIXTURES / f"{name.replace('/', '-')}.jsonl"


def letters() -> BertTokenizer:
    """A tokenizer that knows every character of ASCII."""
    pieces = [*PIECES, *CHARACTERS, *(f"##{character}" for character in CHARACTERS)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, do_lower_case=False)


def section(task: Any, file: Path) -> Any:
    """The task's data, from one file for every split."""
    return data_class(task.head)(train=str(file), validation=str(file))


def codec_of(task: Any, examples: Dataset) -> Codec:
    """What a model would read and write with."""
    if task.head == "text":
        writer = train_bpe([*examples["source"], *examples["target"]] * 2, 400)
        return Codec(writer, decoder_start=writer.cls_token_id)
    return Codec(letters(), labels=task.labels(examples))


def oracle(task: Any, examples: Dataset, codec: Codec, data: Any) -> tuple[Dataset, list[Outputs]]:
    """Features, and the outputs of a model that is right and sure."""
    targets = task.encode(examples, codec, data, training=True)
    features = targets if task.head == "text" else task.encode(examples, codec, data, training=False)
    return features, [_outputs(task.head, row, codec) for row in targets]


def _outputs(head: str, row: dict[str, Any], codec: Codec) -> Outputs:
    if head == "span":
        return {
            f"{end}_logits": np.where(np.arange(row["length"]) == row[f"{end}_positions"], 9.0, -9.0).astype(np.float32)
            for end in ("start", "end")
        }
    if head == "label" and isinstance(row["label"], float):
        return {"logits": np.array([row["label"]], np.float32)}
    numbers = np.arange(len(codec.labels))
    if head == "label":
        return {"logits": np.where(numbers == row["label"], 9.0, -9.0).astype(np.float32)}
    if head == "tags":
        wanted = np.array(row["tag_labels"])[:, None]
        return {"logits": np.where(numbers == wanted, 9.0, -9.0).astype(np.float32)}
    return {"ids": np.array([codec.decoder_start, *row["target_ids"]]), "score": np.float32(0.0)}
