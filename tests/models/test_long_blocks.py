"""A block of 8,192 tokens, as long as ModernBERT reads, is a step of some hundred megabytes on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STEP = """
import resource, sys
import torch
from support.tokenizer_families import tokenizer_of
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.recipes.pretraining import ModelSection

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 2**20)

shape = {"hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 1, "intermediate_size": 32}
section = ModelSection.model_validate({"config": {"model_type": "modernbert", **shape}})
tokenizer, length, first = tokenizer_of("modernbert"), 8192, 3000
before = peak()
model = model_for_pretraining(section, tokenizer, length).train()
ids = torch.randint(5, len(tokenizer), (1, length))
positions = torch.cat([torch.arange(first), torch.arange(length - first)])[None]
places = torch.arange(0, length, 7)
starts = torch.tensor([0, first, length], dtype=torch.int32)
model(ids, positions, starts, places, ids[0, places]).loss.backward()
print(peak() - before)
"""


@pytest.mark.slow
def test_a_step_needs_no_gigabyte() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1000, "megabytes"
