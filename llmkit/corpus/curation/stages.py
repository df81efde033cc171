"""The stages, as datatrove's pipelines.

filter        read a part, apply the rules and the index of evaluation data, write what is left, with its signatures
pairs         find documents with the same hashes in a bucket; a task per bucket
groups        join pairs into groups, and choose the document of each that stays
deduplicate   leave out the others
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.hashing import HashConfig, create_hash_func
from datatrove.utils.text import ngrams, simplify_text

from llmkit.corpus.curation.plan import CONTAMINATED, DUPLICATE, Plan, minhash_shape
from llmkit.corpus.curation.steps import ReadKept, ReadSources, Removed, Signatures, Words, Write
from llmkit.recipes.curation import Quality

HASH = HashConfig(hash_fc="sha1")  # xxhash needs a release before 4, and every environment has this
RULES: dict[Quality, Callable[..., Any]] = {
    "gopher-quality": GopherQualityFilter,
    "gopher-repetition": GopherRepetitionFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}


def pipeline(plan: Plan, stage: str) -> list[Any]:
    """datatrove's pipeline of a stage."""
    buckets, rows = minhash_shape(plan.recipe.duplicates.similarity)
    config = MinhashConfig(num_buckets=buckets, hashes_per_bucket=rows, hash_config=HASH)
    signatures, pairs, groups = (str(plan.work / "minhash" / name) for name in ("signatures", "pairs", "groups"))
    if stage == "filter":
        filters = [RULES[name](language=Words(), exclusion_writer=Removed(plan, name)) for name in plan.recipe.quality]
        if plan.recipe.contamination.files:
            filters.append(
                NGramsDecontFilter(
                    str(plan.work / "index"),
                    _contamination(plan),
                    exclusion_writer=Removed(plan, CONTAMINATED),
                    language=Words(),
                )
            )
        duplicates = plan.recipe.duplicates.remove
        last = [Signatures(signatures, config, language=Words())] if duplicates else []
        return [ReadSources(plan), *filters, Write(plan, result=not duplicates), *last]
    if stage == "pairs":
        return [MinhashDedupBuckets(signatures, pairs, config=config)]
    if stage == "groups":
        return [MinhashDedupCluster(pairs, groups, config=config)]
    return [
        ReadKept(plan),
        MinhashDedupFilter(groups, exclusion_writer=Removed(plan, DUPLICATE)),
        Write(plan, result=True),
    ]


def write_index(plan: Plan, texts: Iterable[str]) -> int:
    """Write the hashes of all sequences of words in `texts` for the filter. Returns their number.

    datatrove's own indexer needs the package lighteval, whatever it is given.
    """
    config, words = _contamination(plan), Words()
    hashed = create_hash_func(config.hash_config)
    found = {
        hashed(" ".join(sequence))
        for text in texts
        for sequence in ngrams(words.word_tokenize(simplify_text(text, config.norm_config)), config.n_grams)
    }
    folder = plan.work / "index"
    folder.mkdir(exist_ok=True)
    np.array(sorted(found), dtype=config.hash_config.np_descr).tofile(folder / "evaluation.index.hashes")
    return len(found)


def _contamination(plan: Plan) -> NGramsDecontConfig:
    return NGramsDecontConfig(n_grams=plan.recipe.contamination.words, hash_config=HASH)
