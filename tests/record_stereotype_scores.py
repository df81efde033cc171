"""Record what the original scripts of CrowS-Pairs and StereoSet give a small model, for a test to compare with.

    PYTHONPATH=tests python tests/record_stereotype_scores.py crows-pairs/metric.py StereoSet/code

Run by hand, and only to change the recorded scores: the scripts are not part of this repository, nor are their
sentences. What the libraries of today lack is put in the place of what they use. Writes
tests/data/official_stereotype_scores.json: for each pair the scores of sent_more and sent_less; for each sentence of
StereoSet its score by id; and what evaluation.py says of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from support.stereotypes import pair_rows, small_masked_lm, write_stereotypes
from support.tasks import letters

DATA = Path(__file__).parent / "data"


def pair_scores(script: Path) -> list[list[float]]:
    source = script.read_text(encoding="utf-8").partition("parser = argparse")[0]
    source = source.replace("import pandas as pd\n", "").replace("from tqdm import tqdm\n", "")
    metric = ModuleType("metric")
    exec(source, vars(metric))
    tokenizer = letters()
    lm = {
        "model": small_masked_lm(),
        "tokenizer": tokenizer,
        "mask_token": tokenizer.mask_token,
        "log_softmax": torch.nn.LogSoftmax(dim=0),
        "uncased": False,
    }
    scores = []
    for row in pair_rows():
        names = ["sent_more", "sent_less"] if row["stereo_antistereo"] == "stereo" else ["sent_less", "sent_more"]
        with torch.no_grad():
            found = vars(metric)["mask_unigram"](dict(zip(("sent1", "sent2"), map(row.get, names), strict=True)), lm)
        by_name = dict(zip(names, (found["sent1_score"], found["sent2_score"]), strict=True))
        scores.append([by_name["sent_more"], by_name["sent_less"]])
    return scores


def word_scores(dataloader: Any, file: Path) -> dict[str, float]:
    """The loop of eval_discriminative_models.py with batches of one sentence."""
    tokenizer, model = letters(), small_masked_lm()
    wrapped = SimpleNamespace(
        mask_token=tokenizer.mask_token,
        encode=tokenizer.encode,
        decode=tokenizer.decode,
        encode_plus=lambda text, text_pair=None, max_length=None, pad_to_max_length=False, **options: tokenizer(
            text, text_pair=text_pair, **options
        ),
    )
    found: dict[str, list[float]] = {}
    for example, token, ids, mask, types in dataloader.IntrasentenceLoader(wrapped, input_file=str(file)):
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        with torch.no_grad():
            output = model(**{name: torch.tensor([row]) for name, row in given.items()})[0].softmax(dim=-1)
        at = output[torch.tensor([ids]) == tokenizer.mask_token_id]
        found.setdefault(example, []).append(at.index_select(1, torch.tensor([token])).diag().item())
    return {example: float(np.mean(values)) for example, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("metric", type=Path, help="metric.py of CrowS-Pairs")
    parser.add_argument("code", type=Path, help="folder with dataloader.py and evaluation.py of StereoSet")
    options = parser.parse_args()
    sys.path.insert(0, str(options.code))
    import dataloader
    from evaluation import ScoreEvaluator

    with tempfile.TemporaryDirectory() as folder:
        _, file = write_stereotypes(Path(folder))
        words = word_scores(dataloader, file)
        predictions = Path(folder) / "predictions.json"
        predictions.write_text(
            json.dumps({"intrasentence": [{"id": key, "score": score} for key, score in words.items()]})
        )
        # It also scores the other part and two more kinds of bias, of which there are none: these are not numbers.
        results = ScoreEvaluator(str(file), str(predictions)).get_overall_results()["intrasentence"]
    known = {bias: {n: float(v) for n, v in scores.items()} for bias, scores in results.items() if scores["Count"]}
    content = {"pairs": pair_scores(options.metric), "words": words, "results": known}
    (DATA / "official_stereotype_scores.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
