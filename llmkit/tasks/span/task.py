"""Extractive question answering: find the span of a passage that answers a question.

An example in canonical columns:

    {"id": "56be85543aeaaa14008c9063", "title": "Beyoncé", "context": "Beyoncé Giselle … in the late 1990s …",
     "question": "When did Beyonce start becoming popular?",
     "answers": {"text": ["in the late 1990s"], "answer_start": [269]}}

A long passage is split into windows that overlap by `doc_stride` tokens; each window is a feature. Decoding compares
spans of all windows of an example, in characters of the original passage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.tasks.base import Task
from llmkit.tasks.score_tables import Table
from llmkit.tasks.span import squad_rows
from llmkit.tasks.span.best_spans import best_spans, stacked
from llmkit.tasks.span.offsets import offsets_of
from llmkit.tasks.span.review import SpanReview
from llmkit.tasks.span.score_tables import answerability_rows, threshold_tables
from llmkit.tasks.span.sections import SpanData, SpanRecipe
from llmkit.tasks.values import Array, Candidate, Codec, LocatedRow, Outputs, Prediction, Published, softmax

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

    from llmkit.tasks.editor import Editor
    from llmkit.tasks.explained import Explained, Typed, Wanted
    from llmkit.tasks.head import Head
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served
    from llmkit.tasks.span.normalization import Normalize

N_BEST = 20  # candidates kept per example, as in the original BERT code
WINDOWS_AT_ONCE = 64
_MAX_NULL_SCORE = float(np.finfo(np.float32).max)  # above any threshold


@dataclass(frozen=True)
class ExtractiveQA(Task[SpanData]):
    """A SQuAD-like task. With `null_answers`, questions may have no answer in their passage.

    With `margins`, a span's score is its logit minus the null logit of its window, so that scores are comparable across
    the windows of a long document (Alberti et al. 2019). Otherwise it is the logit.

    `script` names the official script that scores English: SQuAD's, or MLQA's, which removes more punctuation. MLQA's
    scores other languages in both cases.
    """

    metric: str = "f1"
    headline: tuple[str, ...] = ("exact_match", "f1")
    item: str = "question"
    pipeline_tag: str | None = "question-answering"
    null_answers: bool = False
    margins: bool = False
    script: Literal["squad", "mlqa"] = "squad"

    recipe_class: ClassVar[type[FinetuneRecipe]] = SpanRecipe
    unexplained: ClassVar[str | None] = None
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

    def expand(self, place: str, row: Any) -> Iterator[LocatedRow]:
        """See Task: SQuAD's own files contain articles, others' a list of paragraphs."""
        return squad_rows.expanded(place, row)

    def example(self, row: Mapping[str, Any], data: SpanData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        return squad_rows.question_of(row, null_answers=self.null_answers, labelled=labelled)

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        answers = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
        return Features({name: Value("string") for name in squad_rows.COLUMNS[:-1]} | {"answers": answers})

    def encode(self, examples: Dataset, codec: Codec, data: SpanData, *, training: bool) -> Dataset:
        """See Task: features are windows; see windows.py."""
        from llmkit.tasks.span.windows import windows

        return windows(self.name, examples, codec.tokenizer, data, training=training, null_answers=self.null_answers)

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
        """See Task. Outputs are `start_logits` and `end_logits`, [tokens].

        Searches all spans of up to max_answer_length tokens. With null answers, abstains if the null score exceeds
        `threshold` (0 if None).
        """
        found: list[dict[tuple[int, int], float]] = [{} for _ in range(len(examples))]
        null = np.full(len(examples), np.inf)
        windows = zip(outputs, features["example"][:], offsets_of(features), strict=True)
        while some := list(islice(windows, WINDOWS_AT_ONCE)):
            owners, offsets = np.array([owner for _, owner, _ in some]), stacked([places for _, _, places in some], -1)
            start, end = (stacked([out[name] for out, _, _ in some], 0) for name in ("start_logits", "end_logits"))
            null_logits = start[:, 0] + end[:, 0]
            window, first, last, scores = best_spans(start, end, offsets[:, :, 0] >= 0, data.max_answer_length, N_BEST)
            if self.margins:
                scores = scores - null_logits[window]
            # An example has no answer only if none of its windows has one, so take the minimum over windows.
            np.minimum.at(null, owners, 0.0 if self.margins else null_logits)
            columns = (owners[window], offsets[window, first, 0], offsets[window, last, 1], scores)
            for owner, begin, stop, score in zip(*(column.tolist() for column in columns), strict=True):
                if score > found[owner].get((begin, stop), -np.inf):
                    found[owner][begin, stop] = score
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
        if not best:  # no window of this example contains a token of its passage
            null_score = _MAX_NULL_SCORE if self.null_answers else None
            return Prediction(example_id, "", 0.0, null_score=null_score, in_a_text=True)
        # With null answers, abstaining is one more candidate.
        probabilities = softmax(np.array([score for _, score in best] + ([null] if self.null_answers else [])))
        candidates = tuple(
            Candidate(context[start:end], start, end, score, probability)
            for ((start, end), score), probability in zip(best, probabilities.tolist(), strict=False)
        )
        top = candidates[0]
        null_score = null - top.score if self.null_answers else None
        if null_score is not None and null_score > threshold:
            return Prediction(example_id, "", float(probabilities[-1]), null_score=null_score, candidates=candidates)
        return Prediction(example_id, top.text, top.probability, top.start, top.end, null_score, candidates)

    @property
    def scorer(self) -> Callable[..., dict[str, Any]]:
        """The function of predictions, examples and a normalization of answers (by default SQuAD's) that scores."""
        from llmkit.tasks.span.scores import squad_scores, squad_v2_scores

        return squad_v2_scores if self.null_answers else squad_scores

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Any]:
        """See Task."""
        from llmkit.tasks.span.normalization import is_in_mlqa, normalizer

        language = data.answer_language or "en"
        if self.script == "squad" and language == "en":
            return self.scorer(predictions, examples)
        scores = self.scorer(predictions, examples, normalizer(language))
        return {**scores, "normalization": f"{'MLQA' if is_in_mlqa(language) else 'Unicode'}, {language}"}

    def values(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Array]:
        """The scores of each question from 0 to 1, [questions]; `exact_match` is among them."""
        from llmkit.tasks.span.scores import squad_v2_values, squad_values

        values = squad_v2_values if self.null_answers else squad_values
        return values(predictions, examples, self.normalize(data))

    def normalize(self, data: SpanData) -> Normalize:
        """What makes texts comparable: the official script's rules for English, or those of the answers' language."""
        from llmkit.tasks.span.normalization import normalizer
        from llmkit.tasks.span.text_overlap import normalize_answer

        language = data.answer_language or "en"
        return normalize_answer if self.script == "squad" and language == "en" else normalizer(language)

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Measured]:
        """See Task: means over the questions, in groups of those on one paragraph."""
        from llmkit.tasks.span.scores import means_over_paragraphs

        return means_over_paragraphs(self.values(predictions, examples, data), examples)

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> Array:
        """See Task: by exact match."""
        right: Array = self.values(predictions, examples, data)["exact_match"] == 1
        return right

    def contents(self, examples: Dataset) -> dict[str, list[str]]:
        """See Task: passages are shared by questions, so a passage alone gives no answer away."""
        return {"question": examples["question"][:], "passage": examples["context"][:]}

    def typed_example(self, typed: Typed, data: SpanData) -> dict[str, Any]:
        """See Task: a question and its passage."""
        from llmkit.tasks.span.explained import typed_question

        return typed_question(typed, self.name)

    def explained(
        self,
        example: Mapping[str, Any],
        inputs: Sequence[tuple[Mapping[str, Any], Outputs]],
        prediction: Prediction,
        codec: Codec,
        data: SpanData,
        wanted: Wanted,
    ) -> Explained:
        """See Task: the logits of the answer's start and end, or those of abstaining."""
        from llmkit.tasks.span.explained import explained_span

        wanted.check(self.name)
        return explained_span(self.name, example, inputs, prediction, codec.tokenizer, margins=self.margins)

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> Review:
        """See Task."""
        return SpanReview(self, predictions, examples, data)

    def served(self, data: SpanData) -> Served:
        """See Task."""
        from llmkit.tasks.span.served import SERVED

        return SERVED

    @property
    def editor(self) -> Editor:
        """See Task."""
        from llmkit.tasks.span.edited import SpanEditor

        return SpanEditor()

    def check_scores(self, examples: Dataset, data: SpanData) -> None:
        """See Task: warns about answers in a script that is not that of the language they are scored in."""
        from llmkit.tasks.span.answer_language import warn_of_another_language

        warn_of_another_language((text for answers in examples["answers"][:] for text in answers["text"]), data)

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: how many questions have no answer, if they may have none."""
        if self.null_answers:
            for name, split in examples.items():
                without = sum(not answers["text"] for answers in split["answers"])
                yield False, f"{name}: {without:,} of {len(split):,} questions have no answer"

    def describe_inputs(self, features: Dataset) -> str:
        """See Task."""
        return f"{len(features):,} windows"

    def next_step(self, run: str) -> str:
        """See Task."""
        return f'ask it: llmkit ask {run} -q "…" -f FILE'

    def score_rows(self, scores: Mapping[str, Any]) -> list[list[str]]:
        """See Task: also F1 on questions with and without an answer."""
        return [*super().score_rows(scores), *answerability_rows(scores)]

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """See Task."""
        yield from threshold_tables(scores)
        if "normalization" in scores:
            yield Table(["scores", "answers compared by"], [["exact_match, f1", scores["normalization"]]])

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.span.usage import usage_example

        return usage_example(model)

    def usage_command(self, name: str, output: str) -> str:
        """See Task."""
        return f'llmkit ask {name} -q "Who founded Ambury?" -c "Ambury was founded by Tom Reed in 1820."'
