"""Contamination: n-grams against a naive implementation, near duplicates against brute force, and planted examples."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.corpus.words import ACCENTS, words
from llmkit.evidence.audit.ngrams import NGrams, Vocabulary
from llmkit.evidence.audit.overlap import excerpt, overlap
from llmkit.evidence.audit.sources import Source, normalized

Words = list[list[str]]
# Few words, so that texts do share n-grams.
texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=6)


def naive(ours: Words, theirs: Words, n: int) -> tuple[list[bool], list[int]]:
    """Which of our texts are found, and how many of their words are in n-grams that are found."""
    grams = {tuple(text[start : start + n]) for text in theirs for start in range(len(text) - n + 1)}
    whole = [tuple(text) for text in theirs]
    found, words = [], []
    for text in ours:
        if len(text) < n:
            same = bool(text) and tuple(text) in whole
            found.append(same)
            words.append(len(text) if same else 0)
        else:
            starts = [start for start in range(len(text) - n + 1) if tuple(text[start : start + n]) in grams]
            found.append(bool(starts))
            words.append(len({start + offset for start in starts for offset in range(n)}))
    return found, words


@settings(max_examples=200, deadline=None)
@given(texts, st.lists(texts, max_size=3), st.integers(1, 4))
def test_ngrams_are_those_of_a_naive_search(ours: Words, batches: list[Words], n: int) -> None:
    vocabulary = Vocabulary(ours)
    index = NGrams(vocabulary.numbered(ours), vocabulary, n)
    theirs: Words = []
    for batch in batches:
        index.look_in(vocabulary.numbered(batch), len(theirs))
        theirs += batch
    found, shared = naive(ours, theirs, n)
    assert index.touched.tolist() == found
    assert index.shared_words().tolist() == shared
    for number in np.flatnonzero(index.touched).tolist():  # the text that it points to does hold some of it
        assert naive([ours[number]], [theirs[index.found_in(number)]], n)[0] == [True]


@given(st.text(st.characters(max_codepoint=126), max_size=40))
def test_words_of_english_are_runs_of_letters_and_digits(text: str) -> None:
    assert normalized(text) == re.findall(r"[a-z0-9_]+", text.lower())


@given(st.text(max_size=40))
def test_words_of_any_script_are_those_that_are_searched_elsewhere(text: str) -> None:
    plain = unicodedata.normalize("NFKD", text.lower())
    assert normalized(text) == words(regex.sub(ACCENTS, "", plain))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Don't stop!", "don ' t stop"),  # as a WordPiece tokenizer decodes it
        ("Beyoncé’s “hit”", "beyonce ' s hit"),
        ("ﬁne", "fine"),
        ("東京は", "東 京 は"),
    ],
)
def test_texts_are_compared_as_words_without_case_accents_and_punctuation(text: str, same: str) -> None:
    assert normalized(text) == normalized(same)


def sentence(chance: random.Random, words: Sequence[str], size: int) -> str:
    return " ".join(chance.choice(words) for _ in range(size))


def vocabulary_of(prefix: str) -> list[str]:
    chance = random.Random(prefix)
    return [prefix + "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(400)]


def source_of(texts: Sequence[str], *, alike: bool = True) -> Source:
    def batches() -> list[Sequence[str]]:
        return [texts[start : start + 50] for start in range(0, len(texts), 50)]

    return Source("training data", len(texts), lambda: iter(batches()), texts.__getitem__, lambda given: given, alike)


def edited(text: str) -> str:
    """Another word, other punctuation and case: a light edit."""
    words = text.split()
    words[len(words) // 2] = "indeed"
    return " ".join(words).upper() + " !"


def test_planted_examples_are_all_found_and_no_others() -> None:
    pytest.importorskip("datasketch")
    chance = random.Random(0)
    training = [sentence(chance, vocabulary_of("t"), chance.randint(4, 40)) for _ in range(500)]
    validation = [sentence(chance, vocabulary_of("v"), chance.randint(20, 40)) for _ in range(400)]
    ids = [str(number) for number in range(400)]
    planted = sorted(chance.sample(range(400), 12))  # 3 %
    verbatim, changed = planted[:6], planted[6:]
    leaked = [*training, *(validation[n] for n in verbatim), *(edited(validation[n]) for n in changed)]
    chance.shuffle(leaked)

    clean = overlap({"text": validation}, ids, source_of(training))
    assert {key: int(mask.sum()) for key, mask in clean.touched.items()} == {
        ("13-gram", "text"): 0,
        ("8-gram", "text"): 0,
        ("near duplicate", "text"): 0,
    }
    assert clean.pairs == []

    found = overlap({"text": validation}, ids, source_of(leaked))
    assert np.flatnonzero(found.touched["near duplicate", "text"]).tolist() == planted
    assert np.flatnonzero(found.touched["8-gram", "text"]).tolist() == planted  # half of an edited text has 10 words
    assert set(verbatim) <= set(np.flatnonzero(found.touched["13-gram", "text"])) <= set(planted)
    assert {int(pair.example) for pair in found.pairs} <= set(planted)
    assert all(normalized(pair.found)[0] in normalized(pair.text) for pair in found.pairs)


def test_an_example_of_two_texts_is_touched_as_a_whole_where_both_are() -> None:
    contents = {
        "question": ["who wrote the great book of the sea", "who wrote the great book of the sea", "why", ""],
        "passage": ["one two three four five six seven eight nine", "quite another passage", "why not", "why not"],
    }
    training = ["one two three four five six seven eight nine ten", "who wrote the great book of the sea", "why not"]
    found = overlap(contents, list("abcd"), source_of(training, alike=False)).touched
    assert found["8-gram", "question"].tolist() == [True, True, False, False]
    assert found["8-gram", "passage"].tolist() == [True, False, True, True]
    assert found["8-gram", "question and passage"].tolist() == [True, False, False, True]  # the last has no question


def test_near_duplicates_are_those_of_a_comparison_of_all_pairs() -> None:
    pytest.importorskip("datasketch")
    from llmkit.evidence.audit.near_duplicates import THRESHOLD, NearDuplicates, jaccard

    chance = random.Random(1)
    base = [sentence(chance, vocabulary_of("w"), 12).split() for _ in range(60)]

    def changed(words: list[str]) -> list[str]:
        return [word if chance.random() < 0.95 else chance.choice(vocabulary_of("w")) for word in words]

    ours, theirs = [changed(words) for words in base * 2], [changed(words) for words in base * 2]
    near = NearDuplicates(ours)
    near.look_in(theirs[:50], 0)
    near.look_in(theirs[50:], 50)
    best = np.array([[jaccard(" ".join(a), " ".join(b)) for b in theirs] for a in ours])
    assert near.touched.tolist() == (best.max(axis=1) >= THRESHOLD).tolist()
    assert 0.1 < near.touched.mean() < 0.95
    for number in np.flatnonzero(near.touched):
        assert near.similarity[number] == best[number, near.found_in[number]]


def test_an_excerpt_is_cut_around_what_is_shared() -> None:
    text = f"{'before ' * 50}Tom Reed,\nthe founder of Ambury, {'after ' * 50}"
    shown = excerpt(text, ["tom", "reed", "the", "founder", "of", "ambury"])
    assert "Tom Reed, the founder of Ambury" in shown
    assert (shown[0], shown[-1]) == ("…", "…")
    assert len(shown) < 200
