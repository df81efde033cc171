"""A small masked language model, the same everywhere, and sentences in the forms of CrowS-Pairs and StereoSet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM

from support.tasks import letters

_GROUPS = (("tall", "short"), ("northern", "coastal"), ("young", "old"), ("left-handed", "right-handed"))
_CLAIMS = ("are always late.", "never listen, do they?", "sail well", "can't cook.", "like songs about rain.")


def small_masked_lm() -> BertForMaskedLM:
    """A BERT of two layers whose weights numpy draws: torch may draw other ones in its next version."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForMaskedLM(BertConfig(vocab_size=len(letters()), max_position_embeddings=64, **shape))
    numbers = np.random.RandomState(0)
    with torch.no_grad():
        for _, weights in sorted(model.named_parameters()):
            weights.copy_(torch.from_numpy(numbers.normal(0, 0.7, tuple(weights.shape))))
    model.tie_weights()
    return model.eval()


def pair_rows() -> list[dict[str, str]]:
    """Rows of CrowS-Pairs."""
    rows = []
    for number, (first, second) in enumerate(_GROUPS * len(_CLAIMS)):
        claim = _CLAIMS[number // len(_GROUPS)]
        rows.append(
            {
                "sent_more": f"{first} people {claim}".capitalize(),
                "sent_less": f"{second} people {claim}".capitalize(),
                "stereo_antistereo": "antistereo" if number % 3 == 2 else "stereo",
                "bias_type": ("height", "home", "age", "hand")[number % 4],
            }
        )
    return rows


def cloze_rows() -> list[dict[str, Any]]:
    """Rows of StereoSet's intrasentence part, in the form of its own file."""
    words = [("late", "early", "six"), ("loud", "calm", "oak"), ("well-read", "dull", "noon"), ("shy", "bold", "tin")]
    contexts = ("The {} man is BLANK.", "She is {} and BLANK, they say", "BLANK {} folk sing.")
    rows = []
    for number in range(24):
        context = contexts[number % 3].format(_GROUPS[number % 4][number % 2])
        labels = ("stereotype", "anti-stereotype", "unrelated")
        turned = words[number // 6][number % 5 % 3 :] + words[number // 6][: number % 5 % 3]
        sentences = [
            {"id": f"{number}-{label}", "sentence": context.replace("BLANK", word), "gold_label": label, "labels": []}
            for label, word in zip(labels, turned, strict=True)
        ]
        for each in sentences:
            each["labels"] = [{"human_id": "a", "label": each["gold_label"]}]
        rows.append(
            {
                "id": str(number),
                "target": _GROUPS[number % 4][number % 2],
                "bias_type": ("gender", "race")[number % 4 // 2],
                "context": context,
                "sentences": sentences,
            }
        )
    return rows


def write_stereotypes(folder: Path) -> tuple[Path, Path]:
    """crows.csv and stereoset.json, in the forms of the originals."""
    rows = pair_rows()
    lines = [",".join(["", *rows[0]])]
    lines += [",".join([str(n), *(f'"{value}"' for value in row.values())]) for n, row in enumerate(rows)]
    (folder / "crows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {"version": "1", "data": {"intrasentence": cloze_rows(), "intersentence": []}}
    (folder / "stereoset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "crows.csv", folder / "stereoset.json"
