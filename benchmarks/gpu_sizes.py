"""How large the models and the data of gpu.py are: for a GPU, and tiny, to try the same code on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from made_up import CONTEXT, DOCUMENT


@dataclass(frozen=True)
class Sizes:
    """How large the models and the data are."""

    base: dict[str, int]  # the shape of the model whose speed is measured, a BERT-base
    small: dict[str, int]  # that of the model which is trained twice
    vocabulary: int
    tokens: int  # of the corpus
    blocks: tuple[int, int]
    batch: int  # tokens of an optimizer step
    piece: int  # tokens of a micro-batch, where the step is cut
    rows: int  # questions of an optimizer step
    steps: int  # for each line of the log
    questions: int
    document: int = DOCUMENT
    context: int = CONTEXT


REAL = Sizes(
    base={"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    small={"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    vocabulary=30_522,
    tokens=3_000_000,
    blocks=(128, 512),
    batch=2**16,
    piece=2**14,
    rows=32,
    steps=12,
    questions=6_000,
)
TINY = Sizes(
    base={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    small={"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    vocabulary=500,
    tokens=12_000,
    blocks=(32, 64),
    batch=512,
    piece=256,
    rows=8,
    steps=1,
    questions=48,
    document=60,
    context=30,
)
