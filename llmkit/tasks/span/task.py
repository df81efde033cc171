"""Extractive question answering: find the span of a passage that answers a question.

An example, in its canonical columns:

    {"id": "56be85543aeaaa14008c9063", "title": "Beyoncé", "context": "Beyoncé Giselle … in the late 1990s …",
     "question": "When did Beyonce start becoming popular?",
     "answers": {"text": ["in the late 1990s"], "answer_start": [269]}}

A passage that is longer than a window is cut into windows that overlap by `doc_stride` tokens; each is one
feature. An answer is sought over all windows of an example, in characters of the original passage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.tasks.base import Task
from llmkit.tasks.span import squad_rows
from llmkit.tasks.span.best_spans import best_spans
from llmkit.tasks.span.sections import SpanData, SpanRecipe
from llmkit.tasks.values import Array, Candidate, Codec, Outputs, Placed, Prediction, Published

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from llmkit.tasks.head import Head
    from llmkit.tasks.score_tables import Table

N_BEST = 20  # candidates kept for an example, as in the original BERT code
_SURE = float(np.finfo(np.float32).max)  # a null score above any threshold


@dataclass(frozen=True)
class ExtractiveQA(Task[SpanData]):
    """A SQuAD-like task. With `null_answers`, a question may have no answer in its passage.

    With `margins` an answer's score is what it has over abstaining in its own window, so that the windows of a long
    document can be told apart (Alberti et al. 2019); else it is the logit as it is.
    """

    metric: str = "f1"
    headline: tuple[str, ...] = ("exact_match", "f1")
    item: str = "question"
    pipeline_tag: str | None = "question-answering"
    null_answers: bool = False
    margins: bool = False

    recipe_class: ClassVar[type[FinetuneRecipe]] = SpanRecipe
    answers_questions: ClassVar[bool] = True

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.span.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return squad_rows.COLUMNS

    def expand(self, place: str, row: Any) -> Iterator[Placed]:
        """See Task: SQuAD's own files hold articles."""
        if isinstance(row, dict) and ("paragraphs" in row or ("title" in row and "context" not in row)):
            yield from squad_rows.questions_of(place, row)
        else:
            yield place, row

    def example(self, row: Mapping[str, Any], data: SpanData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        return squad_rows.question_of(row, null_answers=self.null_answers, labelled=labelled)

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        answers = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
        return Features({name: Value("string") for name in squad_rows.COLUMNS[:-1]} | {"answers": answers})

    def encode(self, examples: Dataset, codec: Codec, data: SpanData, *, training: bool) -> Dataset:
        """See Task: windows, described in windows.py."""
        from llmkit.tasks.span.windows import windows

        return windows(self.name, examples, codec.tokenizer, data, training=training)

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: SpanData,
        *,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """See Task; outputs are `start_logits` and `end_logits`.

        Exact over all spans of up to max_answer_length. With null answers, abstains where the null score is
        above `threshold`, 0 where None.
        """
        found: list[dict[tuple[int, int], float]] = [{} for _ in range(len(examples))]
        null = np.full(len(examples), np.inf)
        for output, owner, offsets in zip(outputs, features["example"][:], _offsets(features), strict=True):
            start, end = output["start_logits"], output["end_logits"]
            abstaining = float(start[0] + end[0])
            spans = best_spans(start, end, offsets[:, 0] >= 0, data.max_answer_length, N_BEST)
            for first, last, score in spans:
                place = (int(offsets[first, 0]), int(offsets[last, 1]))
                score -= abstaining if self.margins else 0.0
                found[owner][place] = max(score, found[owner].get(place, -np.inf))
            # An example has no answer where none of its windows has one: the least sure window decides.
            null[owner] = 0.0 if self.margins else min(null[owner], abstaining)
        contexts, ids = examples["context"][:], examples["id"][:]
        return [
            self._prediction(ids[row], contexts[row], found[row], float(null[row]), threshold or 0.0)
            for row in range(len(examples))
        ]

    def _prediction(
        self,
        example_id: str,
        context: str,
        found: dict[tuple[int, int], float],
        null: float,
        threshold: float,
    ) -> Prediction:
        best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:N_BEST]
        if not best:  # no window of this example holds a token of its passage
            return Prediction(example_id, "", 0.0, null_score=_SURE if self.null_answers else None)
        # Null is one more candidate, where the task has it.
        logits = np.array([score for _, score in best] + ([null] if self.null_answers else []))
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        candidates = tuple(
            Candidate(context[start:end], start, end, score, float(share))
            for ((start, end), score), share in zip(best, shares, strict=False)
        )
        top = candidates[0]
        null_score = null - top.score if self.null_answers else None
        if null_score is not None and null_score > threshold:
            return Prediction(example_id, "", float(shares[-1]), null_score=null_score, candidates=candidates)
        return Prediction(example_id, top.text, top.probability, top.start, top.end, null_score, candidates)

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Any]:
        """See Task."""
        from llmkit.tasks.span.scores import squad_scores, squad_v2_scores

        return (squad_v2_scores if self.null_answers else squad_scores)(predictions, examples)

    def describe_inputs(self, features: Dataset) -> str:
        """See Task."""
        return f"{len(features):,} windows"

    def use(self, run: str) -> str:
        """See Task."""
        return f'ask it: llmkit ask {run} -q "…" -f FILE'

    def score_rows(self, scores: Mapping[str, Any]) -> list[list[str]]:
        """See Task: F1 of questions with and without an answer too."""
        from llmkit.tasks.span.score_tables import rows_of_parts

        return [*super().score_rows(scores), *rows_of_parts(scores)]

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """See Task."""
        from llmkit.tasks.span.score_tables import threshold_tables

        return threshold_tables(scores)

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.span.usage import usage_example

        return usage_example(model)

    def usage_command(self, name: str, output: str) -> str:
        """See Task."""
        return f'llmkit ask {name} -q "Who founded Ambury?" -c "Ambury was founded by Tom Reed in 1820."'


def _offsets(features: Dataset) -> Iterator[Array]:
    """Offsets of every feature, [tokens, 2], read a thousand features at a time."""
    for table in features.select_columns("offsets").with_format("arrow").iter(1000):
        for column in table["offsets"].chunks:
            flat, ends = column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())
            yield from (part.reshape(-1, 2) for part in np.split(flat, ends[:-1]))
