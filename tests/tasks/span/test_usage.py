"""The model card's code, with every family's tokenizer: its answers are those of decoding."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from datasets import Dataset
from support import quick_or_slow
from support.spans import example
from support.tokenizer_families import FAMILIES, SENTENCES, tokenizer_of

from llmkit.tasks import TASKS
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.span.usage import usage_example
from llmkit.tasks.values import Codec, Published

SQUAD = TASKS["squad"]
DATA = SpanData(path="x", max_length=512, max_answer_length=12)
HARD = "Cafe\u0301 E\u0301toile\r\n \u200b red\u200b lamp, मेला में  👨\u200d👩\u200d👧!"


@pytest.mark.parametrize("family", quick_or_slow(FAMILIES, ("bert-uncased", "roberta", "modernbert")))
def test_answers_of_the_card_are_llmkits(family: str) -> None:
    tokenizer = tokenizer_of(family)
    logits: dict[str, Any] = {}

    def model(**inputs: Any) -> Any:
        return SimpleNamespace(**{name: torch.tensor(value)[None] for name, value in logits.items()})

    code = usage_example(Published("model", None, DATA.model_dump(), None, None))
    names: dict[str, Any] = {}
    loaded = SimpleNamespace(eval=lambda: model)
    with (
        patch("transformers.AutoTokenizer.from_pretrained", return_value=tokenizer),
        patch("transformers.AutoModelForQuestionAnswering.from_pretrained", return_value=loaded),
    ):
        exec(code.rpartition("\nprint(")[0], names)
    random = np.random.default_rng(0)
    for context in (*SENTENCES.values(), HARD):
        examples = Dataset.from_list([example(context, "who?")])
        features = SQUAD.encode(examples, Codec(tokenizer), DATA, training=False)
        for _ in range(3):
            for name in ("start_logits", "end_logits"):
                logits[name] = random.normal(size=features["length"][0]).astype(np.float32)
            (expected,) = SQUAD.decode([logits], features, examples, Codec(tokenizer), DATA)
            text, score = names["answer"]("who?", context)
            assert text == expected.text
            assert score == pytest.approx(expected.candidates[0].score)
