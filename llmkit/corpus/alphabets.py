"""The characters of a corpus, and which of them get a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import regex

SMALL = 1000  # characters that are always kept, as in BERT's own vocabulary
COVERAGE = 0.9999  # of the text, by the characters that are kept
SHARE = 0.75  # of the vocabulary, at most, for characters beyond the first SMALL
# Of these, BERT's own tokenizer keeps all that tells words apart (when it lowercases, except for accents).
_SCRIPTS_OF_BERT = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Han}\p{Common}\p{Inherited}]")
FEW = 0.01  # of the text, by characters of other scripts: names and quotations


@dataclass(frozen=True)
class Alphabet:
    """The characters that a vocabulary has room for, and those that it has not, most frequent first.

    `share_left_out` is of all characters except spaces. `total` counts them all.
    """

    kept: Sequence[str]
    left_out: Sequence[str]
    share_left_out: float
    total: int

    @classmethod
    def of(cls, counts: Counter[str], vocab_size: int, tokens: Callable[[str], int]) -> Alphabet:
        """Choose from counted characters. `tokens` is how many tokens of the vocabulary a character takes."""
        ranked = sorted(counts, key=lambda character: (-counts[character], character))
        total = counts.total()
        taken = covered = number = 0
        for number, character in enumerate(ranked):
            if number >= SMALL and (covered >= COVERAGE * total or taken >= SHARE * vocab_size):
                break
            taken += 0 if character.isspace() else tokens(character)
            covered += counts[character]
        else:
            number = len(ranked)
        kept, left_out = ([c for c in part if not c.isspace()] for part in (ranked[:number], ranked[number:]))
        letters = sum(count for character, count in counts.items() if not character.isspace())
        return cls(kept, left_out, sum(counts[c] for c in left_out) / max(letters, 1), total)


def count_characters(documents: Iterator[str], normalizer: Any) -> tuple[Counter[str], Counter[str]]:
    """Count the characters of documents, after and before they are normalized."""
    normalized, written = Counter[str](), Counter[str]()
    for document in documents:
        normalized.update(normalizer.normalize_str(document))
        written.update(document)
    return normalized, written


def in_scripts_of_bert(counts: Counter[str]) -> bool:
    """Whether a text is in the scripts that BERT's own tokenizer was made for, except for a few characters."""
    others = sum(count for character, count in counts.items() if not _SCRIPTS_OF_BERT.match(character))
    return others <= FEW * counts.total()
