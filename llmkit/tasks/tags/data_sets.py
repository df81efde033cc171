"""The datasets of tagging."""

from __future__ import annotations

from llmkit.tasks.tags.task import Tagging

TAGS = (
    Tagging(
        name="ner",
        title="Tagging: names of entities in sentences of words; CoNLL-2003 where no data is named",
        # The repository's main revision is a loading script, which datasets no longer runs; the Hub keeps a parquet
        # conversion beside it, with the names of the tags.
        hub_id="eriktks/conll2003",
        hub_revision="refs/convert/parquet",
        recipe="ner-bert-base",
    ),
)
