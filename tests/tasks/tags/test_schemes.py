"""What tags mean is seen from the tags: letters, types, or a tag per word."""

from __future__ import annotations

import pytest

from llmkit.system.errors import UserError
from llmkit.tasks.tags.entities import Entity, each_word, entities, runs
from llmkit.tasks.tags.schemes import check_one_form, describe, reader_of

TOM, PARIS, ROME = Entity("PER", 0, 2), Entity("LOC", 3, 3), Entity("LOC", 4, 4)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (["B-PER", "M-PER", "E-PER", "S-LOC", "S-LOC"], [TOM, PARIS, ROME]),
        (["B-PER", "M-PER", "E-PER", "W-LOC", "W-LOC", "O"], [TOM, PARIS, ROME]),
        (["B_PER", "I_PER", "I_PER", "B_LOC", "B_LOC"], [TOM, PARIS, ROME]),
        (["PER", "PER", "PER", "O", "LOC", "LOC"], [TOM, Entity("LOC", 4, 5)]),
        (["PER", "PER", "PER", "LOC", "O"], [TOM, PARIS]),
        (["B", "E", "S", "B", "M", "E"], [Entity("_", 0, 1), Entity("_", 2, 2), Entity("_", 3, 5)]),
        (["NOUN", "NOUN", "VERB"], [Entity("NOUN", 0, 0), Entity("NOUN", 1, 1), Entity("VERB", 2, 2)]),
        (["O", "O"], []),
    ],
)
def test_every_form_has_its_entities(tags: list[str], found: list[Entity]) -> None:
    assert reader_of(tags)(tags) == found


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (["O", "B-PER", "I-PER", "B-LOC"], "IOB, 2 types"),
        (["O", "I-PER", "E-PER"], "IOE, 1 type"),
        (["O", "B-PER", "E-PER", "S-PER"], "IOBES, 1 type"),
        (["O", "B-PER", "L-PER", "U-LOC"], "BILOU, 2 types"),
        (["B-PER", "M-PER", "E-LOC", "S-ORG"], "BMES, 3 types"),
        (["B", "M", "E", "W", "O"], "BMEWO, 1 type"),
        (["O", "PER", "E-MAIL"], "plain, 2 types"),
        (["NOUN", "VERB"], "2 tags, each word on its own"),
    ],
)
def test_every_form_has_its_name(tags: list[str], told: str) -> None:
    check_one_form(tags)
    assert describe(tags, reader_of(tags)) == told


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (["O", "B-LOC", "PER"], "some tags are like B-LOC, others like PER"),
        (["B-LOC", "I-LOC", "NOUN"], "some tags are like B-LOC, I-LOC, others like NOUN"),
        (["o", "b-per", "i-per"], "tags in lower case: b-per, i-per, o"),
    ],
)
def test_two_forms_at_once_are_refused(tags: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        check_one_form(tags)
    assert caught.value.problems == (told,)


def test_readers_differ() -> None:
    tags = ["B-PER", "B-PER"]
    assert (len(entities(tags)), len(runs(tags)), len(each_word(tags))) == (2, 1, 2)
