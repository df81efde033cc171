"""Invented names for the demo, composed of syllables and split between training and validation."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class NameMaker:
    """Joins a beginning and an ending. One combination in four is reserved for validation.

    So no name is in both splits, but every syllable is, just as the subwords of unseen names are in real text.
    """

    beginnings: tuple[str, ...]
    endings: tuple[str, ...]

    def draw(self, rng: random.Random, *, held_out: bool) -> str:
        """Draw a name: one reserved for validation if `held_out`, any other if not."""
        while True:
            i, j = rng.randrange(len(self.beginnings)), rng.randrange(len(self.endings))
            if ((i + j) % 4 == 0) == held_out:
                return self.beginnings[i] + self.endings[j]


SURNAMES = NameMaker(
    (
        "Brad", "Carl", "Cold", "Elm", "Fair", "Gold", "Hart", "Kirk", "Lang", "Marsh", "North", "Old",
        "Park", "Pen", "Rad", "Red", "Sand", "Shel", "Thorn", "Wal", "War", "West", "Whit", "Win",
    ),
    (
        "bury", "croft", "field", "ford", "ham", "ley", "man", "more", "son", "ton", "well", "wood",
    ),
)  # fmt: skip
TOWNS = NameMaker(
    (
        "Al", "Bel", "Cor", "Dal", "Fen", "Gal", "Ilo", "Kar", "Lor", "Mel", "Or", "Pal", "Quin", "Ros",
        "Sel", "Tar", "Ul", "Vel", "Yar", "Zan",
    ),
    (
        "anda", "avik", "dova", "essa", "gard", "holm", "mira", "nika", "orva", "rano", "sund", "tova",
    ),
)  # fmt: skip
SHIPS = NameMaker(
    (
        "Ama", "Ange", "Ari", "Cele", "Cora", "Deli", "Flo", "Gise", "Hele", "Isa", "Juli", "Loui",
        "Mari", "Nata", "Octa", "Roxa",
    ),
    (
        "belle", "bine", "dora", "gine", "lina", "linde", "lotta", "nette", "rella", "rine", "rose",
        "vera",
    ),
)  # fmt: skip
COMPANIES = NameMaker(
    SURNAMES.beginnings,
    (
        "an", "astra", "co", "ex", "ica", "ina", "ix", "olin", "on", "um",
    ),
)  # fmt: skip
GIVEN_NAMES = (
    "Ada", "Albert", "Alice", "Anna", "Arthur", "Clara", "David", "Edith", "Emma", "Frank", "George",
    "Grace", "Helen", "Henry", "Hugo", "Ida", "Jacob", "Jane", "John", "Julia", "Laura", "Louis",
    "Lucy", "Martha", "Mary", "Oscar", "Paul", "Peter", "Ruth", "Sarah", "Thomas", "Victor",
)  # fmt: skip
# Uncountable nouns only, so that the singular fits in every sentence.
GOODS = (
    "amber", "bread", "butter", "cheese", "cider", "clay", "cloth", "coal", "coffee", "copper",
    "cotton", "fish", "flour", "furniture", "glass", "gold", "grain", "hay", "honey", "iron", "leather",
    "linen", "marble", "milk", "oil", "paint", "paper", "pepper", "pottery", "rice", "rope", "salt",
    "silk", "silver", "soap", "steel", "sugar", "tea", "timber", "tobacco", "wheat", "wine", "wool",
)  # fmt: skip
YEARS = range(1850, 1950)
