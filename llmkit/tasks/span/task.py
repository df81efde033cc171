"""Extractive question answering: find the span of a passage that answers a question.

An example, in its canonical columns:

    {"id": "56be85543aeaaa14008c9063", "title": "Beyoncé", "context": "Beyoncé Giselle … in the late 1990s …",
     "question": "When did Beyonce start becoming popular?",
     "answers": {"text": ["in the late 1990s"], "answer_start": [269]}}

A passage that is longer than a window is cut into windows that overlap by `doc_stride` tokens; each is one
feature. An answer is sought over all windows of an example, in characters of the original passage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.base import Candidate, Codec, Outputs, Placed, Prediction
from llmkit.tasks.span import squad_rows
from llmkit.tasks.span.best_spans import best_spans

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from llmkit.recipes.finetuning import SpanData

Array = np.ndarray[Any, np.dtype[Any]]

N_BEST = 20  # candidates kept for an example, as in the original BERT code
_SURE = float(np.finfo(np.float32).max)  # a null score above any threshold


@dataclass(frozen=True)
class ExtractiveQA:
    """A SQuAD-like task. With `null_answers`, a question may have no answer in its passage.

    With `margins` an answer's score is what it has over abstaining in its own window, so that the windows of a long
    document can be told apart (Alberti et al. 2019); else it is the logit as it is.
    """

    name: str
    title: str
    hub_id: str
    recipe: str
    null_answers: bool = False
    margins: bool = False
    hub_name: str | None = None
    hub_revision: str | None = None
    head: Literal["span"] = "span"
    metric: str = "f1"
    headline: tuple[str, ...] = ("exact_match", "f1")
    item: str = "question"
    columns: tuple[str, ...] = squad_rows.COLUMNS

    def splits(self, split: str) -> tuple[str, ...]:
        """See Task."""
        return (split,)

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
        return Features({name: Value("string") for name in self.columns[:-1]} | {"answers": answers})

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task: none."""
        return ()

    def encode(self, examples: Dataset, codec: Codec, data: SpanData, *, training: bool) -> Dataset:
        """Windows with, per token, `offsets` into the passage: two numbers a token, (-1, -1) outside of it.

        In training also `start_positions` and `end_positions`; a window that does not hold the whole answer
        points at [CLS]. Of these windows the share `null_windows` is there, which follows from id and number.
        """
        from datasets import Dataset

        tokenizer = codec.tokenizer
        if tokenizer.cls_token_id is None or tokenizer.padding_side != "right":
            raise UserError(
                f"a {type(tokenizer).__name__} does not suit {self.name}: no [CLS] token, or padding on the left",
                remedy="use a BERT-like encoder",
            )

        # A copy, since truncation is a setting of the backend: the caller's tokenizer stays as it is.
        backend = deepcopy(tokenizer.backend_tokenizer)
        backend.no_padding()
        special = tokenizer.num_special_tokens_to_add(pair=True)

        def windows() -> Iterator[dict[str, Any]]:
            for start in range(0, len(examples), 256):
                rows = examples[start : start + 256]
                backend.no_truncation()
                questions = backend.encode_batch([q.strip() for q in rows["question"]], add_special_tokens=False)
                _check_room(rows["id"], questions, special, data)
                # A passage is tokenized once for the questions on it, which are neighbours as a rule.
                texts = list(dict.fromkeys(rows["context"]))
                passages = dict(zip(texts, backend.encode_batch(texts, add_special_tokens=False), strict=True))
                backend.enable_truncation(data.max_length, stride=data.doc_stride, strategy="only_second")
                for row, (question, context) in enumerate(zip(questions, rows["context"], strict=True)):
                    passage = passages[context]
                    answer = _first_answer(rows["answers"][row], passage.offsets) if training else None
                    whole = backend.post_process(question, passage)
                    for number, encoding in enumerate((whole, *whole.overflowing)):
                        kept = not training or _drawn(f"{rows['id'][row]} {number}", data.null_windows)
                        if not kept and answer is None:
                            continue
                        feature = _feature(encoding, start + row, answer, tokenizer.cls_token_id, training=training)
                        if kept or encoding.ids[feature["start_positions"]] != tokenizer.cls_token_id:
                            yield feature

        rows = list(windows())
        if training and not rows:
            raise UserError(
                f"no window of the training examples holds an answer, and data.null_windows {data.null_windows} "
                "leaves none of the others",
                remedy="raise data.null_windows",
            )
        names = list(rows[0]) if rows else ["input_ids", "length", "example"]
        return Dataset.from_dict({name: [row[name] for row in rows] for name in names})

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


def _offsets(features: Dataset) -> Iterator[Array]:
    """Offsets of every feature, [tokens, 2], read a thousand features at a time."""
    for table in features.select_columns("offsets").with_format("arrow").iter(1000):
        for column in table["offsets"].chunks:
            flat, ends = column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())
            yield from (part.reshape(-1, 2) for part in np.split(flat, ends[:-1]))


def _first_answer(answers: dict[str, list[Any]], passage: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Characters [start, end) of the answer to train on, the first, or None where there is none.

    They are those of the whole tokens that share a character with it: an answer may begin or end inside a
    token, or with a character that is in none.
    """
    if not answers["text"]:
        return None
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    touching = [token for token in passage if token[0] < end and token[1] > start]
    return (touching[0][0], touching[-1][1]) if touching else None


def _check_room(ids: Sequence[str], questions: Sequence[Any], special: int, data: SpanData) -> None:
    """Each window must move on by a token; the tokenizers library panics where it cannot."""
    for example_id, question in zip(ids, questions, strict=True):
        room = data.max_length - len(question) - special
        if room <= data.doc_stride:
            raise UserError(
                f"example {example_id}: its question takes {len(question)} tokens, which leaves {max(room, 0)} of "
                f"max_length {data.max_length} for the passage: not more than doc_stride {data.doc_stride}",
                remedy="raise data.max_length, lower data.doc_stride, or shorten the question",
            )


def _drawn(name: str, share: float) -> bool:
    """Whether what has this name is in a share of all that there is: always the same, and as good as at random."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2**64


def _feature(
    encoding: Any, example: int, answer: tuple[int, int] | None, cls_id: int, *, training: bool
) -> dict[str, Any]:
    offsets = np.array(encoding.offsets, dtype=np.int32)
    passage = np.array([sequence == 1 for sequence in encoding.sequence_ids])
    offsets[~passage] = -1
    # In all windows but the first, tokenizers leaves a passage in segment 0; the [SEP] behind it has the right one.
    type_ids = np.where(passage, encoding.type_ids[-1], encoding.type_ids)
    feature: dict[str, Any] = {
        "input_ids": np.array(encoding.ids, dtype=np.int32),  # a list would take ten times the memory
        "token_type_ids": type_ids.astype(np.int8),
        "length": len(encoding.ids),
        "example": example,
    }
    if training:
        start, end = _answer_tokens(offsets, answer) or (encoding.ids.index(cls_id),) * 2
        return {**feature, "start_positions": start, "end_positions": end}
    return {**feature, "offsets": offsets.ravel()}


def _answer_tokens(offsets: Array, answer: tuple[int, int] | None) -> tuple[int, int] | None:
    """First and last token of an answer, or None where the window does not hold all of it."""
    if answer is None:
        return None
    start, end = answer
    touching = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start) & (offsets[:, 0] >= 0))
    passage = offsets[offsets[:, 0] >= 0]
    if not len(touching) or passage[0, 0] > start or passage[-1, 1] < end:
        return None
    return int(touching[0]), int(touching[-1])
