"""The sentences of the demo's articles: three kinds of entities, with eight facts each.

Facts come in pairs with values of the same type (two people, two years, two goods, two places). Only the words around a
value tell which of the two facts it belongs to.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of entity, and the words that the relations below use for it."""

    noun: str
    adjectives: tuple[str, ...]
    asides: tuple[str, ...]
    words: dict[str, str]


@dataclass(frozen=True)
class Relation:
    """A kind of fact about an entity `{e}`: the type of its value `{v}`, and ways to state it and to ask for it."""

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
            "made": "founded", "maker": "founder", "leader": "mayor", "disaster": "flood",
            "sells": "sells", "sell": "sell", "selling": "selling",
            "buys": "buys", "buy": "buy", "buying": "buying",
            "is_at": "lies close to", "home": "nearest neighbour",
            "goes_to": "runs a coach line to", "link": "coach line", "leads": "leads to", "ends": "ends",
            "lead": "does", "to": "lead to",
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
            "made": "founded", "maker": "founder", "leader": "director", "disaster": "fire",
            "sells": "sells", "sell": "sell", "selling": "selling",
            "buys": "buys", "buy": "buy", "buying": "buying",
            "is_at": "is based in", "home": "main office",
            "goes_to": "has a branch in", "link": "branch", "leads": "is in", "ends": "stands",
            "lead": "is", "to": "in",
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
            "made": "built", "maker": "builder", "leader": "captain", "disaster": "storm",
            "sells": "delivers", "sell": "deliver", "selling": "delivering",
            "buys": "collects", "buy": "collect", "buying": "collecting",
            "is_at": "is at home in", "home": "home port",
            "goes_to": "follows a route to", "link": "route", "leads": "leads to", "ends": "ends",
            "lead": "does", "to": "lead to",
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
ORIGIN = Relation(
    "year",
    (
        "{e} was {made} in {v}.",
        "{e} dates from {v}.",
        "The history of {e} began in {v}.",
        "In {v}, {e} was {made}.",
    ),
    ("When was {e} {made}?", "In which year was {e} {made}?", "From which year does {e} date?"),
)
DISASTER = Relation(
    "year",
    (
        "A {disaster} damaged {e} in {v}.",
        "In {v}, {e} was badly damaged by a {disaster}.",
        "The {disaster} of {v} nearly destroyed {e}.",
        "{e} suffered from a great {disaster} in {v}.",
    ),
    (
        "When did a {disaster} damage {e}?",
        "In which year did {e} suffer from a {disaster}?",
        "In which year was {e} damaged by a {disaster}?",
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
PAIRS = ((MAKER, LEADER), (ORIGIN, DISASTER), (SELLS, BUYS), (HOME, LINK))
