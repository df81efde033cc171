"""Compare the ONNX graphs of an encoder-decoder with PyTorch: same run, texts, batches and beams, in one process.

llmkit export RUN -o EXPORTED --int8
python benchmarks/onnx_texts.py --run RUN --exported EXPORTED
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from side_by_side import Figures, Measure, compare

from llmkit.models.collator import collator_for
from llmkit.system.machine import quiet
from llmkit.tasks.examples import load_examples
from llmkit.tasks.settings import settings_of


def generate(model: Any, batches: Sequence[Any], beams: int | None) -> list[list[int]]:
    """The tokens of each text, without what fills them up to the length of the longest."""
    import torch

    pad = model.generation_config.pad_token_id
    written = []
    for batch in batches:
        with torch.inference_mode():
            rows = model.generate(**batch, **({"num_beams": beams} if beams is not None else {}))
        written += [[token for token in row if token != pad] for row in rows.tolist()]
    return written


def measure(model: Any, batches: Sequence[Any], beams: int | None, expected: list[list[int]]) -> Measure:
    """Texts a second, and how many are those of PyTorch."""

    def measured(_: Path) -> Figures:
        began = time.perf_counter()
        written = generate(model, batches, beams)
        seconds = time.perf_counter() - began
        same = sum(ours == theirs for ours, theirs in zip(written, expected, strict=True))
        return {"texts/s": len(written) / seconds, "same texts, %": 100 * same / len(written)}

    return measured


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--run", required=True, help="a run of a task that generates texts")
    options.add_argument("--exported", type=Path, required=True, help="what llmkit export made of it")
    options.add_argument("--texts", type=int, default=64, help="validation texts")
    options.add_argument("--batch", type=int, default=8, help="texts at a time")
    options.add_argument("--beams", type=int, help="beams of the search; by default, the run's")
    options.add_argument("--runs", type=int, default=3, help="runs per contender")
    arguments = options.parse_args()

    quiet()
    settings = settings_of(arguments.run, None, None)
    task, data = settings.task, settings.data
    model, codec = task.load_trained(settings.checkpoint, data)
    model.eval()
    every = load_examples(task, data, ["validation"])["validation"]
    examples = every.select(range(min(arguments.texts, len(every))))
    features = sorted(task.encode(examples, codec, data, training=False), key=lambda feature: feature["length"])
    collate = collator_for(model, codec.tokenizer, buckets=False)
    batches = [collate(features[start : start + arguments.batch]) for start in range(0, len(features), arguments.batch)]
    graphs = task.graphs()
    names = {"onnxruntime": graphs.files, "onnxruntime, int8": [f"{Path(n).stem}_int8.onnx" for n in graphs.files]}
    files = {name: [arguments.exported / file for file in its] for name, its in names.items()}
    models = {name: graphs.run(model, *its) for name, its in files.items() if all(file.is_file() for file in its)}

    expected = generate(model, batches, arguments.beams)
    contenders = {**models, "PyTorch": model}
    tokens = sum(map(len, expected)) / len(expected)
    beams = arguments.beams or model.generation_config.num_beams
    compare(
        f"Generating {len(features)} texts of {tokens:.0f} tokens, {arguments.batch} at a time, {beams} beams",
        {name: measure(each, batches, arguments.beams, expected) for name, each in contenders.items()},
        runs=arguments.runs,
        speed="texts/s",
    )


if __name__ == "__main__":
    main()
