"""The demo's data: articles and reading questions about invented towns, companies and ships.

Each passage stands alone: a name may recur elsewhere with other facts, so that answers have to be read, not memorized.
For more than half of the questions, the passage contains a second candidate of the same type (a mayor besides the
founder, a second year, product or place). Facts appear in random order and in one of several wordings, so that neither
the position nor the type of a phrase gives the answer away. The entities, surnames and places of the validation
questions occur in no training question and in no document. Given names, years and goods are shared.
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
    """A relation and its value for one entity."""

    relation: Relation
    value: str


@dataclass(frozen=True)
class Entity:
    """The subject of an article."""

    kind: Kind
    name: str

    @property
    def full_name(self) -> str:
        """The name in running text, where ships take an article."""
        return f"the {self.name}" if self.kind.noun == "ship" else self.name


def documents(seed: int = 0) -> Iterator[str]:
    """Yield the pretraining documents: articles that state or answer everything twice.

    So a masked word also occurs elsewhere in the document, and a model that matches sentences about the same fact can
    predict it. Half of the documents are reading exercises: a question, an article, the answer.
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
        text = " ".join([_opening(rng, entity), *article])
        form = rng.random()
        if form < 0.5:
            asked = rng.choice(facts[:2])
            yield f"{_ask(rng, entity, asked.relation)} {text} The answer is {asked.value}."
            continue
        if form < 0.65:
            repeated = [f"{_ask(rng, entity, fact.relation)} {_upper(fact.value)}." for fact in facts]
        else:
            repeated = [_state(rng, entity, fact, other)[0] for fact, (_, other) in zip(facts, wordings, strict=True)]
        rng.shuffle(repeated)
        parts = [text, " ".join(repeated)]
        rng.shuffle(parts)
        yield " ".join(parts)


def questions(split: Split, seed: int = 0) -> list[dict[str, Any]]:
    """The reading questions of a split: SQuAD rows with an additional column, `second_candidate`.

    It is true if the passage contains another value of the answer's type.
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
    """A fact for each relation. Values are unique, and no town is its own neighbour."""
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
    """A sentence that states the fact, and the index of the value in it."""
    subject = rng.choice((entity.full_name, f"the {entity.kind.noun}"))
    before, after = (part.format(e=subject, **entity.kind.words) for part in wording.split("{v}"))
    return _upper(before + fact.value + after), len(before)


def _ask(rng: random.Random, entity: Entity, relation: Relation) -> str:
    return _upper(rng.choice(relation.questions).format(e=entity.full_name, **entity.kind.words))


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
