"""What a set of tags means: a scheme of letters, plain types, or a tag per word without entities.

B-PER I-PER O      letters: IOB, IOE, IOBES, BILOU, BMES, BMEWO
PER PER O          plain types: words of one type in a row are one entity
NOUN VERB ADP      no O: parts of speech and the like, each word on its own
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmkit.system.errors import UserError
from llmkit.tasks.label.labels import first_few
from llmkit.tasks.tags.entities import OUTSIDE, TAG, Reader, each_word, entities, runs

_TYPED = re.compile(r"[BIS][-_].+", re.DOTALL)  # every scheme has B, I or S; E-MAIL is a type
# The first letters that occur only in some schemes, and the name of the scheme.
_LETTERS = (("W", "BMEWO"), ("M", "BMES"), ("LU", "BILOU"), ("S", "IOBES"), ("E", "IOE"))


def reader_of(tags: Iterable[str]) -> Reader:
    """The function that finds entities in sentences with these tags."""
    found = set(tags)
    if any(_TYPED.fullmatch(tag) for tag in found) or all(TAG.fullmatch(tag) for tag in found):
        return entities
    return runs if OUTSIDE in found else each_word


def check_one_form(tags: Iterable[str]) -> None:
    """Raises UserError if some tags have letters, such as B-PER, and others are neither O nor have any."""
    found = set(tags)
    odd = sorted(tag for tag in found if not TAG.fullmatch(tag))
    if odd and all(TAG.fullmatch(tag.upper()) for tag in found):
        raise UserError(f"tags in lower case: {first_few(odd)}", remedy=f"write them in capitals: {odd[0].upper()}")
    if odd and any(_TYPED.fullmatch(tag) for tag in found):
        like = sorted(found - set(odd) - {OUTSIDE})
        raise UserError(
            f"some tags are like {first_few(like)}, others like {first_few(odd)}",
            remedy="write O outside entities, and B-TYPE or I-TYPE inside; or score each tag by itself with --task pos",
        )


def describe(tags: Iterable[str], read: Reader) -> str:
    """`IOB, 3 types`, `plain, 3 types`, or `17 tags, each word on its own`."""
    found = set(tags) - {OUTSIDE}
    if read is each_word:
        return f"{len(set(tags))} tags, each word on its own"
    types = {entity.type for tag in found for entity in read([tag])}
    letters = {tag[0] for tag in found}
    scheme = "plain" if read is runs else next((name for some, name in _LETTERS if letters & set(some)), "IOB")
    return f"{scheme}, {len(types)} type{'s' * (len(types) != 1)}"
