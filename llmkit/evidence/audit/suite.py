"""The suite of robustness: every change that an audit makes, in order. It is fixed, so that audits can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmkit.evidence.audit import noise, questions, swaps
from llmkit.evidence.audit.drawing import Draw, stream
from llmkit.evidence.audit.questions import PASSAGE, QUESTION
from llmkit.tasks.editing import Changes, Edited, Texts


@dataclass(frozen=True)
class Perturbation:
    """A change of an example's texts that should not change how well it is answered."""

    name: str
    what: str
    changes: Callable[[Texts, Draw], Changes]

    def edits(self, texts: Texts, example_id: str) -> dict[str, Edited]:
        """The texts of this example that change, by name: always the same."""
        return texts.edited(self.changes(texts, stream(self.name, example_id)))


def _of_each(change: noise.Noise) -> Callable[[Texts, Draw], Changes]:
    """A change of every input on its own."""
    return lambda texts, draw: {
        name: change(text, draw, texts.kept.get(name, ())) for name, text in texts.inputs.items()
    }


def _of_questions(change: Callable[[str, str, Draw], Changes]) -> Callable[[Texts, Draw], Changes]:
    """A change of questions on passages; other examples stay as they are."""
    return lambda texts, draw: (
        change(texts.inputs[QUESTION], texts.inputs[PASSAGE], draw)
        if {QUESTION, PASSAGE} <= texts.inputs.keys()
        else {}
    )


SUITE = (
    Perturbation("typos", "a typing error in a tenth of the longer words", _of_each(noise.typos)),
    Perturbation("lower case", "all letters small", _of_each(noise.lower_case)),
    Perturbation("upper case", "all letters capital", _of_each(noise.upper_case)),
    Perturbation("no punctuation", "without punctuation marks", _of_each(noise.no_punctuation)),
    Perturbation("more punctuation", "every punctuation mark twice", _of_each(noise.more_punctuation)),
    Perturbation("contractions", "it is ↔ it's, do not ↔ don't", _of_each(noise.contractions)),
    Perturbation("distractor", "one more sentence after the passage", _of_questions(questions.distractor)),
    Perturbation(
        "question word", "who → which person, when → at what time", _of_questions(questions.other_question_word)
    ),
    Perturbation("numbers", "another number, everywhere, in the answer too", swaps.other_number),
    Perturbation("names", "people with other names, everywhere, in the answer too", swaps.other_names),
)
