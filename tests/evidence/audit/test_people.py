"""People in texts: their names, and their pronouns."""

from __future__ import annotations

import pytest

from llmkit.evidence.audit import people
from llmkit.evidence.audit.groups import TRAITS
from llmkit.evidence.audit.word_lists import FIRST_NAMES, MEN, OF_NAME, WOMEN
from llmkit.tasks.editing import Edited, Texts

BY_NAME = {trait.name: trait for trait in TRAITS}


def version(trait: str, group: str, text: str) -> str:
    edits = BY_NAME[trait].edits(Texts({"sentence": text}), "id")[group]
    return edits["sentence"].text if edits else text


@pytest.mark.parametrize(
    ("men", "women"),
    [
        ("He saw him.", "She saw her."),
        ("His hat is his.", "Her hat is hers."),
        ("She gave it to HIM, he says", "She gave it to HER, she says"),
        ("a friend of his, who left", "a friend of hers, who left"),
        ("They saw him in town with his son.", "They saw her in town with her daughter."),
        ("The man hurt himself; Mr. Reed left", "The woman hurt herself; Ms. Reed left"),
        ("the star , mr . reed , hurt himself", "the star , ms . reed , hurt herself"),
        ("After 5 ms I miss him, Mr Reed", "After 5 ms I miss her, Ms Reed"),
        ("his father's hat", "her mother's hat"),
        ("I told him that he's late", "I told her that she's late"),
    ],
)  # fmt: skip
def test_pronouns_and_words_for_people(men: str, women: str) -> None:
    def turned(text: str, gender: int) -> str:
        return Edited.of(text, people.in_gender(text, gender)).text

    assert turned(men, WOMEN) == women
    assert turned(women, MEN) == turned(men, MEN)
    assert turned(women, WOMEN) == women


def test_each_name_is_in_one_list() -> None:
    names = [name for genders in FIRST_NAMES.values() for its in genders for name in its]
    assert len(names) == len({name.lower() for name in names}) == len(OF_NAME)
    assert all(min(map(len, genders)) >= 14 for genders in FIRST_NAMES.values())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Mary and ADA left Maryland.", ["Mary", "Ada"]),
        ("Mark the place with Ji-woo", ["Mark", "Ji-woo"]),
        ("the mark of grace, by peter", ["Peter"]),  # without capitals, words are words
        ("Say peter in Town", []),
        ("O'Tom, Anna-Maria, Toms", []),
        ("José's", ["José"]),
    ],
)
def test_names_are_found(text: str, names: list[str]) -> None:
    assert [name for _, name in people.names_in(text)] == names


def test_a_name_becomes_the_same_one_everywhere() -> None:
    text = version("gender", "women", "Tom Reed met Sam. TOM smiled; tom is no name here.")
    words = text.replace(".", "").replace(";", "").split()
    assert OF_NAME[words[0]][1] == WOMEN
    assert words[1] == "Reed"
    assert words[4] == words[0].upper()
    assert words[3] != words[0]
    assert "tom is" in text


def test_two_people_do_not_become_one() -> None:
    """Ada is what Adam would become, but she is there already."""
    assert version("gender", "women", "Adam saw Ada.").split()[0] not in ("Adam", "Ada")


def test_origins() -> None:
    for origin in FIRST_NAMES:
        name = version("origin", origin, "Lucy sings to her son.").split()[0]
        assert OF_NAME[name] == (origin, WOMEN)
    assert version("origin", "English", "Lucy sings.") == "Lucy sings."


def test_writers_are_of_their_group_and_draw_alike() -> None:
    texts = Texts({"text": "it rains."})
    edits = BY_NAME["gender of the writer"].edits(texts, "7")
    assert edits[""]["text"].text == "someone wrote: it rains."
    names = {group: edits[group]["text"].text.split()[0].title() for group in ("men", "women")}
    found = {group: OF_NAME[next(n for n in OF_NAME if n.lower() == name.lower())] for group, name in names.items()}
    assert found["men"][1] == MEN
    assert found["women"][1] == WOMEN
    assert found["men"][0] == found["women"][0]
    assert BY_NAME["origin of the writer"].edits(Texts({"text": "a", "pair": "b"}), "7")["Arabic"] == {}


def test_a_translation_follows_only_with_the_same_names() -> None:
    def edits(source: str, target: str, trait: str, group: str, *, translated: bool = True) -> dict[str, Edited]:
        texts = Texts({"source": source}, gold={"target": target}, translated=translated)
        return BY_NAME[trait].edits(texts, "7")[group]

    assert not edits("Tom is here.", "Er ist hier.", "origin", "Arabic")
    found = edits("Tom is here.", "Tom ist hier.", "origin", "Arabic")
    assert found["source"].text.split()[0] == found["target"].text.split()[0] != "Tom"
    assert not edits("He is here.", "Er ist hier.", "gender", "women")
    found = edits("He left home.", "He left.", "gender", "women", translated=False)
    assert {name: edit.text for name, edit in found.items()} == {"source": "She left home.", "target": "She left."}
