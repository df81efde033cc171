"""Which texts are almost the same as other texts: MinHash with locality-sensitive hashing, as in Lee et al. 2022."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmkit.tasks.values import Array

SIZE = 5  # characters of a shingle
THRESHOLD = 0.8  # Jaccard similarity from which on texts are near duplicates
# 25 bands of 5 hashes find 99.995 % of the pairs with a similarity of 0.8, and more of those above.
_BANDS, _ROWS = 25, 5
_HASHES = _BANDS * _ROWS
_HOPELESS = 0.65  # estimated similarity: four standard deviations below the threshold
_ODD = np.uint64(0x9E3779B97F4A7C15)


class NearDuplicates:
    """Texts, each a list of words, that look for near duplicates among others.

    Two texts are near duplicates if the Jaccard similarity of their sets of shingles, all runs of 5 characters, is at
    least 0.8. Candidates come from MinHash, and are then compared exactly: none is a near duplicate by estimate.
    `similarity` [texts] is that with the first one found, 0 if there is none, and `found_in` [texts] its number.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        from datasketch import MinHashLSH

        self._texts = [" ".join(text) for text in texts]
        self.similarity = np.zeros(len(texts))
        self.found_in = np.full(len(texts), -1)
        self._signatures = np.zeros((len(texts), _HASHES), np.uint64)
        self._index = MinHashLSH(num_perm=_HASHES, params=(_BANDS, _ROWS))
        for number, signature in zip(self._with_words(self._texts), _signatures(self._texts), strict=True):
            self._index.insert(number, signature, check_duplication=False)
            self._signatures[number] = signature.hashvalues

    def look_in(self, words: Sequence[Sequence[str]], first: int) -> None:
        """Look in other texts; `first` is the number of the first of them."""
        texts = [" ".join(text) for text in words]
        for number, signature in zip(self._with_words(texts), _signatures(texts), strict=True):
            candidates = np.array(self._index.query(signature), np.intp)
            alike = (self._signatures[candidates] == signature.hashvalues).mean(axis=1) >= _HOPELESS
            for candidate in sorted(candidates[alike].tolist()):
                similarity = jaccard(self._texts[candidate], texts[number])
                if similarity >= THRESHOLD:
                    self.similarity[candidate], self.found_in[candidate] = similarity, first + number
                    self._index.remove(candidate)  # one is enough

    @property
    def touched(self) -> Array:
        """Whether each text has a near duplicate so far, [texts]."""
        return self.found_in >= 0

    @staticmethod
    def _with_words(texts: Sequence[str]) -> list[int]:
        return [number for number, text in enumerate(texts) if text]


def jaccard(first: str, second: str) -> float:
    """The size of the intersection of the texts' sets of shingles, divided by that of their union."""
    ours, theirs = _shingles(first), _shingles(second)
    return len(ours & theirs) / len(ours | theirs)


def _shingles(text: str) -> set[str]:
    return {text[start : start + SIZE] for start in range(max(1, len(text) - SIZE + 1))}


def _signatures(texts: Sequence[str]) -> Any:
    """The MinHash of each text that is not empty."""
    from datasketch import MinHash

    hashed = (_hashes(text) for text in texts if text)
    return MinHash.generator(hashed, num_perm=_HASHES, scheme="affine32", hashfunc=int)


def _hashes(text: str) -> Any:
    """Hashes of 32 bits of the text's shingles."""
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    size = min(SIZE, len(characters))
    hashes = np.zeros(len(characters) - size + 1, np.uint64)
    for offset in range(size):
        hashes = hashes * _ODD + characters[offset : offset + len(hashes)]
    return np.unique(hashes * _ODD >> np.uint64(32)).astype(np.uint32)
