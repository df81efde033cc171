"""The demo's world: articles and reading questions about towns, companies and ships that never existed.

Every article is drawn from a seed, so no answer can be known beforehand: it has to be read. In most passages a
question meets a second candidate of the type asked for (a founder *and* a mayor, two years, two goods, two places),
told in any order and in one of several wordings, so neither the position nor the type of a phrase gives the answer
away. The names of the validation entities, people and places occur in no training question and no document.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from llmkit.demo import names

Split = Literal["train", "validation"]

NUM_DOCUMENTS = 24_000
NUM_QUESTIONS: dict[Split, int] = {"train": 12_000, "validation": 500}
SECOND_CANDIDATE_SHARE = 0.6


@dataclass(frozen=True)
class Kind:
    """A kind of entity, and the words with which the relations below speak of it."""

    noun: str
    adjectives: tuple[str, ...]
    asides: tuple[str, ...]
    words: dict[str, str]


@dataclass(frozen=True)
class Relation:
    """One fact about an entity `{e}`: the type of its value `{v}`, ways to state it and ways to ask for it."""

    value_type: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


KINDS = (
    Kind(
        "town",
        ("small", "quiet", "lively", "busy"),
        (
            "Its narrow streets are quiet in winter.",
            "Many visitors come for the summer fair.",
            "Most of its houses are built of grey stone.",
        ),
        {
            "made": "founded", "maker": "founder", "leader": "mayor", "harm": "flood",
            "sells": "sells", "sell": "sell", "selling": "selling", "buys": "buys", "buy": "buy", "buying": "buying",
            "is_at": "lies close to", "home": "nearest neighbour",
            "goes_to": "runs a coach line to", "link": "coach line", "leads": "leads to", "ends": "ends", "lead": "does", "to": "lead to",
        },
    ),
    Kind(
        "company",
        ("small", "modern", "lively", "busy"),
        (
            "Its workers are paid every Friday.",
            "Its tall chimney can be seen for miles.",
            "Three generations have worked there.",
        ),
        {
            "made": "founded", "maker": "founder", "leader": "director", "harm": "fire",
            "sells": "sells", "sell": "sell", "selling": "selling", "buys": "buys", "buy": "buy", "buying": "buying",
            "is_at": "is based in", "home": "main office",
            "goes_to": "has a branch in", "link": "branch", "leads": "is in", "ends": "stands", "lead": "is", "to": "in",
        },
    ),
    Kind(
        "ship",
        ("fast", "sturdy", "fine", "famous"),
        (
            "Its crew is proud of the white sails.",
            "Children wave whenever it passes.",
            "It has three masts and a green hull.",
        ),
        {
            "made": "built", "maker": "builder", "leader": "captain", "harm": "storm",
            "sells": "delivers", "sell": "deliver", "selling": "delivering",
            "buys": "collects", "buy": "collect", "buying": "collecting",
            "is_at": "is at home in", "home": "home port",
            "goes_to": "follows a route to", "link": "route", "leads": "leads to", "ends": "ends", "lead": "does", "to": "lead to",
        },
    ),
)  # fmt: skip

MAKER = Relation(
    "person",
    (
        "{e} was {made} by {v}.",
        "{v} {made} {e}.",
        "The {maker} of {e} was {v}.",
        "It was {v} who {made} {e}.",
    ),
    ("Who {made} {e}?", "By whom was {e} {made}?", "Who was the {maker} of {e}?"),
)
LEADER = Relation(
    "person",
    (
        "The {leader} of {e} is {v}.",
        "{v} is the {leader} of {e}.",
        "{e} has a new {leader}, {v}.",
        "Today {v} serves as the {leader} of {e}.",
    ),
    ("Who is the {leader} of {e}?", "What is the {leader} of {e} called?", "Who serves as {leader} of {e}?"),
)
START = Relation(
    "year",
    (
        "{e} was {made} in {v}.",
        "{e} dates from {v}.",
        "The history of {e} began in {v}.",
        "In {v}, {e} was {made}.",
    ),
    ("When was {e} {made}?", "In which year was {e} {made}?", "From which year does {e} date?"),
)
HARM = Relation(
    "year",
    (
        "A {harm} damaged {e} in {v}.",
        "In {v}, {e} was badly damaged by a {harm}.",
        "The {harm} of {v} nearly destroyed {e}.",
        "{e} suffered from a great {harm} in {v}.",
    ),
    (
        "When did a {harm} damage {e}?",
        "In which year did {e} suffer from a {harm}?",
        "In which year was {e} damaged by a {harm}?",
    ),
)
SELLS = Relation(
    "goods",
    (
        "{e} {sells} {v} all year round.",
        "{e} lives on {selling} {v}.",
        "The {v} that {e} {sells} has won many prizes.",
        "Everywhere people praise the {v} that {e} {sells}.",
    ),
    ("What does {e} {sell}?", "Which goods does {e} {sell}?", "What does {e} live on {selling}?"),
)
BUYS = Relation(
    "goods",
    (
        "{e} {buys} {v} from abroad.",
        "{e} began {buying} {v} long ago.",
        "The {v} that {e} {buys} comes from far away.",
        "Every spring {e} {buys} fresh supplies of {v}.",
    ),
    ("What does {e} {buy}?", "Which goods does {e} {buy}?", "What did {e} begin {buying} long ago?"),
)
HOME = Relation(
    "place",
    (
        "{e} {is_at} {v}.",
        "The {home} of {e} is {v}.",
        "{v} is the {home} of {e}.",
    ),
    ("What is the {home} of {e}?", "Which town is the {home} of {e}?", "Where is the {home} of {e}?"),
)
LINK = Relation(
    "place",
    (
        "{e} {goes_to} {v}.",
        "The {link} of {e} {leads} {v}.",
        "{v} is where the {link} of {e} {ends}.",
    ),
    ("Which town {lead} the {link} of {e} {to}?", "Which place {lead} the {link} of {e} {to}?"),
)
PAIRS = ((MAKER, LEADER), (START, HARM), (SELLS, BUYS), (HOME, LINK))


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
    """The pretraining documents: each tells a few facts twice, so that a masked word can be found elsewhere."""
    rng = random.Random(f"documents-{seed}")
    for _ in range(NUM_DOCUMENTS):
        entity = _entity(rng, held_out=False)
        pairs = rng.sample(PAIRS, 2)
        relations = [*pairs[0], rng.choice(pairs[1])] if rng.random() < 0.5 else list(pairs[0])
        facts = _facts(rng, relations, held_out=False)
        wordings = [rng.sample(fact.relation.statements, 2) for fact in facts]
        article = [_state(rng, entity, fact, pair[0])[0] for fact, pair in zip(facts, wordings, strict=True)]
        if rng.random() < 0.2:
            article.append(rng.choice(entity.kind.asides))
        rng.shuffle(article)
        told = " ".join([_opening(rng, entity), *article])
        form = rng.random()
        if form < 0.5:
            asked = facts[0] if rng.random() < 0.5 else facts[1]
            yield f"{_ask(rng, entity, asked.relation)} {told} The answer is {asked.value}."
            continue
        if form < 0.65:
            again = [_ask(rng, entity, fact.relation) + " " + _upper(fact.value) + "." for fact in facts]
        else:
            again = [
                _state(rng, entity, fact, pair[1])[0] for fact, pair in zip(facts, wordings, strict=True)
            ]
        rng.shuffle(again)
        parts = [told, " ".join(again)]
        if rng.random() < 0.5:
            parts.reverse()
        yield " ".join(parts)


def questions(split: Split, seed: int = 0) -> list[dict[str, Any]]:
    """The reading questions of a split, as SQuAD rows plus `second_candidate`.

    `second_candidate` tells whether the passage also names another value of the answer's type.
    """
    rng = random.Random(f"questions-{split}-{seed}")
    held_out = split == "validation"
    return [_question(rng, f"{split}-{i}", held_out) for i in range(NUM_QUESTIONS[split])]


def _question(rng: random.Random, row_id: str, held_out: bool) -> dict[str, Any]:
    entity = _entity(rng, held_out=held_out)
    second_candidate = rng.random() < SECOND_CANDIDATE_SHARE
    asked, *others = rng.sample(PAIRS, 3)
    asked_relations = rng.sample(asked, 2)
    relations = [
        *(asked_relations if second_candidate else asked_relations[:1]),
        *(rng.choice(p) for p in others),
    ]
    facts = _facts(rng, relations, held_out=held_out)
    sentences = [(_state(rng, entity, fact, rng.choice(fact.relation.statements)), fact) for fact in facts]
    aside = ((rng.choice(entity.kind.asides), 0), None)
    told = [*sentences, aside] if rng.random() < 0.3 else list(sentences)
    rng.shuffle(told)
    context = _opening(rng, entity)
    start, text = -1, ""
    for (sentence, offset), fact in told:
        context += " "
        if fact is facts[0]:
            start = len(context) + offset
            text = sentence[offset : offset + len(fact.value)]
        context += sentence
    return {
        "id": row_id,
        "title": entity.name,
        "context": context,
        "question": _ask(rng, entity, facts[0].relation),
        "answers": {"text": [text], "answer_start": [start]},
        "second_candidate": second_candidate,
    }


def _entity(rng: random.Random, *, held_out: bool) -> Entity:
    kind = rng.choice(KINDS)
    makers = {"town": names.TOWNS, "company": names.COMPANIES, "ship": names.SHIPS}
    return Entity(kind, makers[kind.noun].draw(rng, held_out=held_out))


def _facts(rng: random.Random, relations: list[Relation], *, held_out: bool) -> list[Fact]:
    """A fact for each relation, no value twice."""
    facts: list[Fact] = []
    for relation in relations:
        value = _value(rng, relation.value_type, held_out)
        while any(value == fact.value for fact in facts):
            value = _value(rng, relation.value_type, held_out)
        facts.append(Fact(relation, value))
    return facts


def _value(rng: random.Random, value_type: str, held_out: bool) -> str:
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
    before, after = wording.split("{v}")
    words = entity.kind.words
    sentence = before.format(e=subject, **words) + fact.value + after.format(e=subject, **words)
    return _upper(sentence), len(before.format(e=subject, **words))


def _ask(rng: random.Random, entity: Entity, relation: Relation) -> str:
    return _upper(rng.choice(relation.questions).format(e=entity.full_name, **entity.kind.words))


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
