"""`llmkit serve` under many clients, beside transformers' classes that answer one question after the other.

    python benchmarks/serve.py --model MODEL --export EXPORT --data validation.json

The model is of SQuAD's kind, the export what `llmkit export MODEL -o EXPORT --int8` wrote. Passages have 155 to 185
tokens. The plain loop has no server: its text is tokenized, the model runs, the best span is decoded.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clients import ask_all, request, serving
from side_by_side import Figures, compare, sample

CLIENTS = 64
TOKENS = range(155, 186)  # of a passage


def questions(file: Path, model: str, count: int) -> list[tuple[str, str]]:
    """(question, passage) of passages of the right length."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    fitting = [each for each in paragraphs if len(tokenizer.tokenize(each["context"])) in TOKENS]
    return sample([(qa["question"], each["context"]) for each in fitting for qa in each["qas"]], count)


def served(model: str, asked: Sequence[tuple[str, str]], folder: Path, *options: str) -> Figures:
    """Requests a second of 64 clients, and how long one takes, after a few to warm up."""
    requests = [request(json.dumps({"question": q, "context": passage}).encode()) for q, passage in asked]
    with serving(model, *options, log=folder / "log.txt") as server:
        ask_all(server.port, requests[:CLIENTS], CLIENTS)
        replies, seconds = ask_all(server.port, requests, CLIENTS)
    assert all(reply.status == 200 for reply in replies), {reply.status for reply in replies}
    return _figures([reply.seconds for reply in replies], seconds)


def plain(model: str, asked: Sequence[tuple[str, str]]) -> Figures:
    """The same questions, one after the other."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    reader = AutoModelForQuestionAnswering.from_pretrained(model).eval()

    def answer(question: str, passage: str) -> str:
        inputs = tokenizer(question, passage, truncation="only_second", max_length=384, return_tensors="pt")
        with torch.inference_mode():
            outputs = reader(**inputs)
        start, end = int(outputs.start_logits.argmax()), int(outputs.end_logits.argmax())
        return str(tokenizer.decode(inputs["input_ids"][0, start : end + 1]))

    for each in asked[:8]:
        answer(*each)
    latencies = []
    for each in asked:
        began = time.perf_counter()
        answer(*each)
        latencies.append(time.perf_counter() - began)
    return _figures(latencies, sum(latencies))


def _figures(latencies: Sequence[float], seconds: float) -> Figures:
    half, most = 1000 * np.quantile(latencies, (0.5, 0.95))
    return {"questions/s": len(latencies) / seconds, "median ms": half, "p95 ms": most}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True)
    options.add_argument("--export")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--questions", type=int, default=640)
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    asked = questions(given.data, given.model, given.questions)
    contenders = {"llmkit serve, PyTorch": lambda folder: served(given.model, asked, folder)}
    if given.export:
        contenders["llmkit serve, ONNX"] = lambda folder: served(given.export, asked, folder)
        contenders["llmkit serve, ONNX int8"] = lambda folder: served(given.export, asked, folder, "--int8")
    contenders["transformers, one at a time"] = lambda _: plain(given.model, asked)
    title = f"{len(asked)} questions on passages of about 170 tokens, {CLIENTS} clients at once"
    compare(title, contenders, runs=given.runs, speed="questions/s")


if __name__ == "__main__":
    main()
