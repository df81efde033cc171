"""The demo's world: articles and reading questions about towns, companies and ships that never existed.

Each passage is a world of its own: a name may return elsewhere with other facts, so that nothing can be
answered from memory and everything has to be read. More than half of the questions meet a second candidate in
their passage (a mayor where the founder is asked for, two years, two goods, two places), told in any order and
in one of several wordings: neither the position nor the type of a phrase gives the answer away. The entities,
surnames and places of the validation questions occur in no training question and in no document; given names,
years and goods are ordinary words and do.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from llmkit.corpus.demo import names
from llmkit.corpus.demo.wording import KINDS, PAIRS, Kind, Relation

Split = Literal["train", "validation"]

NUM_DOCUMENTS = 24_000
NUM_QUESTIONS: dict[Split, int] = {"train": 12_000, "validation": 500}
SECOND_CANDIDATE_SHARE = 0.6


@dataclass(frozen=True)
class Fact:
    """A relation together with its value for one entity."""

    relation: Relation
    value: str


@dataclass(frozen=True)
class Entity:
    """A thing to write about; ships carry an article in running text."""

    kind: Kind
    name: str

    @property
    def full_name(self) -> str:
        return f"the {self.name}" if self.kind.noun == "ship" else self.name


def documents(seed: int = 0) -> Iterator[str]:
    """The pretraining documents: articles that say or answer everything twice.

    A masked word can then be found elsewhere in the document, by whoever sees which sentences speak of the
    same thing. Half of the documents are reading exercises: a question, an article, the answer.
    """
    rng = random.Random(f"documents-{seed}")
    for _ in range(NUM_DOCUMENTS):
        entity = _entity(rng, held_out=False)
        pair, other_pair = rng.sample(PAIRS, 2)
        relations = [*pair, rng.choice(other_pair)] if rng.random() < 0.5 else list(pair)
        facts = _facts(rng, entity, relations, held_out=False)
        wordings = [rng.sample(fact.relation.statements, 2) for fact in facts]
        article = [_state(rng, entity, fact, first)[0] for fact, (first, _) in zip(facts, wordings, strict=True)]
        if rng.random() < 0.2:
            article.append(rng.choice(entity.kind.asides))
        rng.shuffle(article)
        told = " ".join([_opening(rng, entity), *article])
        form = rng.random()
        if form < 0.5:
            asked = rng.choice(facts[:2])
            yield f"{_ask(rng, entity, asked.relation)} {told} The answer is {asked.value}."
            continue
        if form < 0.65:
            again = [f"{_ask(rng, entity, fact.relation)} {_upper(fact.value)}." for fact in facts]
        else:
            again = [_state(rng, entity, fact, other)[0] for fact, (_, other) in zip(facts, wordings, strict=True)]
        rng.shuffle(again)
        parts = [told, " ".join(again)]
        rng.shuffle(parts)
        yield " ".join(parts)


def questions(split: Split, seed: int = 0) -> list[dict[str, Any]]:
    """The reading questions of a split: SQuAD rows with the additional column `second_candidate`.

    It tells whether the passage also names another value of the answer's type.
    """
    rng = random.Random(f"questions-{split}-{seed}")
    held_out = split == "validation"
    return [{"id": f"{split}-{i}", **_question(rng, held_out=held_out)} for i in range(NUM_QUESTIONS[split])]


def _question(rng: random.Random, *, held_out: bool) -> dict[str, Any]:
    entity = _entity(rng, held_out=held_out)
    pair, *other_pairs = rng.sample(PAIRS, 3)
    second_candidate = rng.random() < SECOND_CANDIDATE_SHARE
    relations = rng.sample(pair, 2 if second_candidate else 1) + [rng.choice(other) for other in other_pairs]
    facts = _facts(rng, entity, relations, held_out=held_out)
    asked = facts[0]
    rng.shuffle(facts)
    context = _opening(rng, entity)
    start = -1
    for fact in facts:
        sentence, offset = _state(rng, entity, fact, rng.choice(fact.relation.statements))
        if fact is asked:
            start = len(context) + 1 + offset
        context += " " + sentence
        if rng.random() < 0.1:
            context += " " + rng.choice(entity.kind.asides)
    return {
        "title": entity.name,
        "context": context,
        "question": _ask(rng, entity, asked.relation),
        "answers": {"text": [context[start : start + len(asked.value)]], "answer_start": [start]},
        "second_candidate": second_candidate,
    }


def _entity(rng: random.Random, *, held_out: bool) -> Entity:
    kind = rng.choice(KINDS)
    makers = {"town": names.TOWNS, "company": names.COMPANIES, "ship": names.SHIPS}
    return Entity(kind, makers[kind.noun].draw(rng, held_out=held_out))


def _facts(rng: random.Random, entity: Entity, relations: list[Relation], *, held_out: bool) -> list[Fact]:
    """A fact for each relation; no value is told twice, and no town is its own neighbour."""
    facts: list[Fact] = []
    for relation in relations:
        taken = {entity.name, *(fact.value for fact in facts)}
        value = _value(rng, relation.value_type, held_out=held_out)
        while value in taken:
            value = _value(rng, relation.value_type, held_out=held_out)
        facts.append(Fact(relation, value))
    return facts


def _value(rng: random.Random, value_type: str, *, held_out: bool) -> str:
    if value_type == "person":
        return f"{rng.choice(names.GIVEN_NAMES)} {names.SURNAMES.draw(rng, held_out=held_out)}"
    if value_type == "year":
        return str(rng.choice(names.YEARS))
    if value_type == "goods":
        return rng.choice(names.GOODS)
    return names.TOWNS.draw(rng, held_out=held_out)


def _opening(rng: random.Random, entity: Entity) -> str:
    return f"{_upper(entity.full_name)} is a {rng.choice(entity.kind.adjectives)} {entity.kind.noun}."


def _state(rng: random.Random, entity: Entity, fact: Fact, wording: str) -> tuple[str, int]:
    """A sentence that tells the fact, and where in it the value starts."""
    subject = rng.choice((entity.full_name, f"the {entity.kind.noun}"))
    before, after = (part.format(e=subject, **entity.kind.words) for part in wording.split("{v}"))
    return _upper(before + fact.value + after), len(before)


def _ask(rng: random.Random, entity: Entity, relation: Relation) -> str:
    return _upper(rng.choice(relation.questions).format(e=entity.full_name, **entity.kind.words))


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
