"""What a model was trained on, as texts: the examples of fine-tuned runs, the documents of pretraining runs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import regex

from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.corpus.words import ACCENTS
from llmkit.corpus.words import words as words_in
from llmkit.evidence.audit.audited import Audited
from llmkit.recipes.finetuning import DataSection
from llmkit.system.cache import cached_folder, has_manifest
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.tasks import task_named
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.rows.splits import serves_every_split

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

_AT_ONCE = 2**20  # characters or tokens of a batch
_ASCII_WORDS = re.compile(r"\w+", re.ASCII)
_ACCENTS = regex.compile(ACCENTS)


@dataclass(frozen=True)
class Source:
    """Texts that a model was trained on.

    name      in words, for tables
    size      how many texts there are
    batches   yields all of them, in batches
    text      the text with a number
    as_read   a text in the form in which texts of the source are given
    alike     whether its texts are like those of examples, so that one may be a near duplicate of the other
    """

    name: str
    size: int
    batches: Callable[[], Iterator[Sequence[str]]]
    text: Callable[[int], str]
    as_read: Callable[[Sequence[str]], Sequence[str]]
    alike: bool


def normalized(text: str) -> list[str]:
    """The words of a text, as they are compared: lower case, without punctuation and accents, in compatible forms.

    What was cut at punctuation is two words, so `don't` is `don` and `t`, however a tokenizer wrote it.
    """
    if text.isascii():  # the same, in a tenth of the time
        return _ASCII_WORDS.findall(text.lower())
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.lower()))
    return [
        word
        for piece in plain.split()
        for word in (_ASCII_WORDS.findall(piece) if piece.isascii() else words_in(piece))
    ]


def sources_of(audited: Audited, corpus: Path | None) -> tuple[list[Source], list[str]]:
    """All that the model is known to be trained on, the latest first: its own training data, that of the runs that it
    started from, and their corpora. `corpus` takes the place of these. And sentences on what is not known.

    Raises UserError if the model is not a run and the user names no training data, or if data is gone.
    """
    found, unknown = [], []
    corpora = [_of_corpus(corpus, str(corpus))] if corpus is not None else []
    run: RunDir | None = audited.run
    if run is None:
        if not _has_its_own_training_split(audited.data):
            raise _unknown(audited)
        found.append(_texts_of(audited.task, _training_examples(audited.task, audited.data), "train split of the data"))
        unknown.append(f"What {audited.settings.checkpoint.name} saw before is not known.")
    while run is not None:
        recipe = run.recipe()
        if "task" in recipe:
            found.append(_of_run(run, recipe))
        elif corpus is None:
            folder = _shards_of(run, recipe)
            if folder is not None:
                corpora.append(_of_corpus(folder, f"of {run.path}"))
            else:
                unknown.append(f"The corpus of {run.path} is not here; --corpus names the folder of its token shards.")
        start = recipe["model"].get("pretrained")
        run = _run_named(start) if start is not None else None
        if start is not None and run is None and corpus is None:
            unknown.append(f"What {start}, which it started from, was trained on is not known.")
    return [*found, *corpora], unknown


def _has_its_own_training_split(data: DataSection) -> bool:
    """Whether the data says what was trained on: one file for all splits does not."""
    if data.path is not None:
        return not serves_every_split(data)
    return data.train not in (None, data.validation)


def _run_named(name: str) -> RunDir | None:
    """The run of a checkpoint, or None."""
    path = Path(name)
    run = RunDir(path.parent if path.name == "model" else path)
    return run if run.started else None


def _unknown(audited: Audited) -> UserError:
    return UserError(
        f"{audited.settings.checkpoint.name} does not say what it was trained on",
        remedy="audit the run that made it, or name both: data.train=FILE data.validation=FILE",
    )


def _of_run(run: RunDir, recipe: dict[str, Any]) -> Source:
    """The training examples of a run. Warns if they are others now."""
    task = task_named(recipe["task"])
    examples = _training_examples(task, task.data_class(**recipe["data"]))
    if run.environment()["data"].get("train") != examples_fingerprint(examples):
        warn(f"the training data of {run.path} has changed since: this audits what is there now")
    return _texts_of(task, examples, f"training data of {run.path}")


def _training_examples(task: Task[Any], data: DataSection) -> Dataset:
    return load_examples(task, data, ["train"])["train"]


def _texts_of(task: Task[Any], examples: Dataset, name: str) -> Source:
    texts = list(dict.fromkeys(text for texts in task.contents(examples).values() for text in texts))

    def batches() -> Iterator[Sequence[str]]:
        return (texts[start:end] for start, end in _slices([len(text) for text in texts]))

    what = f"{name}: {len(examples):,} {task.item}s"
    return Source(what, len(texts), batches, texts.__getitem__, lambda given: given, alike=True)


def _shards_of(run: RunDir, recipe: dict[str, Any]) -> Path | None:
    """The token shards of a pretraining run: where its recipe says, or in the cache; None if they are not here."""
    named, key = recipe["corpus"].get("path"), run.environment()["data"].get("corpus", {})
    folder = Path(named) if named is not None else cached_folder("corpora", key)
    if not has_manifest(folder):
        return None
    if read_manifest(folder)["key"] != key:
        warn(f"{folder} is not the corpus that {run.path} was trained on: this audits what is there now")
    return folder


def _of_corpus(folder: Path, name: str) -> Source:
    """The training documents of token shards, decoded. Raises UserError if there are none."""
    shards = TokenShards(folder, "train")
    tokenizer = load_tokenizer(str(folder / "tokenizer"))

    def decoded(first: int, end: int) -> list[str]:
        documents = range(first, end)
        ids = [shards.files[shards.file[d]][shards.first[d] : shards.first[d] + shards.lengths[d]] for d in documents]
        return _decoded(tokenizer, [document.tolist() for document in ids])

    def batches() -> Iterator[Sequence[str]]:
        return (decoded(start, end) for start, end in _slices(shards.lengths))

    def as_read(texts: Sequence[str]) -> list[str]:
        encoded = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return _decoded(tokenizer, [encoding.ids for encoding in encoded])

    what = f"pretraining corpus {name}: {len(shards):,} documents"
    return Source(what, len(shards), batches, lambda number: decoded(number, number + 1)[0], as_read, alike=False)


def _slices(sizes: npt.ArrayLike) -> Iterator[tuple[int, int]]:
    """Cut texts of these sizes into batches [start, end) of a bounded size, or of one text."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        yield start, end
        start = end


def _decoded(tokenizer: PreTrainedTokenizerFast, ids: list[list[int]]) -> list[str]:
    decoded: list[str] = tokenizer.backend_tokenizer.decode_batch(ids, skip_special_tokens=True)
    return decoded
