"""The tagging tasks."""

from __future__ import annotations

from llmkit.tasks.tags.task import Tagging

TAGS = (
    Tagging(
        name="ner",
        title="Tagging: named entities in sentences of words; CoNLL-2003 by default",
        # The main revision is a loading script, which `datasets` no longer runs. The Hub's parquet conversion has the
        # names of the tags.
        hub_id="eriktks/conll2003",
        hub_revision="refs/convert/parquet",
        recipe="ner-bert-base",
    ),
    Tagging(
        name="pos",
        title="Tagging: parts of speech, or any other tag for each word, scored by accuracy; CoNLL-2003 by default",
        hub_id="eriktks/conll2003",
        hub_revision="refs/convert/parquet",
        recipe="ner-bert-base",
        metric="accuracy",
        headline=("accuracy", "macro_f1"),
        each_word=True,
        tag_columns=("pos_tags", "upos", "tags"),
    ),
)
