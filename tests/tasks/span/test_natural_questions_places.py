"""The official score of Natural Questions compares positions: for every family of tokenizers they are exact."""

from __future__ import annotations

from typing import Any

import pytest
from support import quick_or_slow
from support.spans import knowing
from support.tokenizer_families import FAMILIES, SENTENCES, tokenizer_of

from llmkit.tasks import TASKS
from llmkit.tasks.examples import examples_of
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec

NQ = TASKS["natural_questions"]
DATA = SpanData(path="x", max_length=192, doc_stride=32, max_answer_length=150)


def page(number: int, sentence: str) -> dict[str, Any]:
    """A row whose answer is a word or two of the sentence."""
    count = len(sentence.split(" "))
    first = number % count
    answer = {"start_token": first + 1, "end_token": min(first + 2, count) + 1}  # after <P>
    return {
        "example_id": number,
        "question_text": "which?",
        "document_text": f"<P> {sentence} </P>",
        "annotations": [{"short_answers": [answer], "yes_no_answer": "NONE"}],
    }


@pytest.mark.parametrize("family", quick_or_slow(FAMILIES, ("bert-uncased", "roberta", "modernbert", "deberta-v3")))
def test_a_model_that_knows_has_the_full_official_score(family: str) -> None:
    rows = [page(7 * number, sentence) for number, sentence in enumerate(SENTENCES.values())]
    placed = (place for number, row in enumerate(rows) for place in NQ.expand(f"row {number}", row))
    examples = examples_of(NQ, placed, DATA, "train", labelled=True)
    codec = Codec(tokenizer_of(family))
    targets = NQ.encode(examples, codec, DATA, training=True)
    features = NQ.encode(examples, codec, DATA, training=False)
    predictions = NQ.decode(knowing(features, targets), features, examples, codec, DATA)
    scores = NQ.score(predictions, examples, DATA)
    assert [p.text for p in predictions] == [answers["text"][0] for answers in examples["answers"]]
    assert scores["short_f1"] == scores["short_all_f1"] == 100.0
