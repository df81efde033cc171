"""The contract of question answering on the questions of SQuAD."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.spans import oracle, score_of
from transformers import BertTokenizer

from llmkit.tasks import task_named
from llmkit.tasks.examples import load_examples
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.span.text_overlap import normalize_answer

pytestmark = pytest.mark.data
SAMPLE = 200  # questions in the quick test


@pytest.mark.parametrize(("name", "file"), [("squad", "validation-new-wiki"), ("squad_v2", "train-v2.0-part")])
def test_contract_on_some_real_questions(name: str, file: str, test_data: Path) -> None:
    check_contract(name, file, test_data, SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file"),
    [("squad", "train-v1.1-part"), ("squad", "validation-new-wiki"), ("squad_v2", "train-v2.0-part")],
)
def test_contract_on_all_real_questions(name: str, file: str, test_data: Path) -> None:
    check_contract(name, file, test_data)


def check_contract(name: str, file: str, test_data: Path, sample: int | None = None) -> None:
    """Gold answers come back from their tokens, and score 100."""
    vocabulary = (test_data / "vocab" / "bert-base-uncased-vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)})
    task = task_named(name)
    data = SpanData(validation=str(test_data / "squad" / f"{file}.json"))
    everything = load_examples(task, data, ["validation"])["validation"]
    if sample is not None:
        everything = everything.shuffle(seed=0).select(range(sample))
    predictions, examples = oracle(task, everything, tokenizer, data)
    # The rest are answers of over 30 tokens, and some that begin or end inside a token ("7" in "1817").
    assert len(examples) > 0.97 * len(everything)
    scores = score_of(task, predictions, examples)
    wrong = [(p.text, row["answers"]["text"]) for p, row in zip(predictions, examples, strict=True)]
    assert scores["exact_match"] == 100.0, [w for w in wrong if w[1] and w[0] not in w[1]][:5]
    # The official script of v1.1 gives an answer that normalises to nothing ("the") an F1 of 0, even a right one.
    nothing = 0 if name == "squad_v2" else sum(normalize_answer(p.text) == "" for p in predictions)
    assert scores["f1"] == pytest.approx(100 * (1 - nothing / len(examples)))
    assert nothing <= 3
