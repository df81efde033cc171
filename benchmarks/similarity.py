"""Compare `llmkit finetune --task retrieval` with sentence-transformers' own trainer: same pairs, model, steps, loss.

    python benchmarks/similarity.py --model runs/bert --train train-v1.1.json --test dev.json -o OUTPUT

Pairs are SQuAD's questions and passages. Both models are scored by the library's InformationRetrievalEvaluator and by
`llmkit eval`, on questions of other articles, as a collection in BEIR's form.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BATCH, RATE = 32, 1e-4


def squad(file: Path, most: int) -> list[dict[str, str]]:
    """Questions and passages, evenly spaced through the file."""
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    rows = [
        {"anchor": one["question"].strip(), "positive": paragraph["context"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for one in paragraph["qas"]
    ]
    return rows[:: max(1, len(rows) // most)][:most]


def write_collection(folder: Path, rows: list[dict[str, str]]) -> None:
    """A collection: corpus.jsonl, queries.jsonl, qrels/test.tsv."""
    (folder / "qrels").mkdir(parents=True)
    number_of = {text: n for n, text in enumerate(dict.fromkeys(row["positive"] for row in rows))}
    lines = {
        "corpus.jsonl": [{"_id": f"d{n}", "title": "", "text": text} for text, n in number_of.items()],
        "queries.jsonl": [{"_id": f"q{n}", "text": row["anchor"]} for n, row in enumerate(rows)],
    }
    for name, found in lines.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")
    judged = [f"q{n}\td{number_of[row['positive']]}\t1\n" for n, row in enumerate(rows)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged), encoding="utf-8")


def ours(options: argparse.Namespace, seed: int) -> float:
    """Train with llmkit; returns the seconds."""
    began = time.perf_counter()
    run = [
        "finetune",
        "--task",
        "retrieval",
        f"model.pretrained={options.model}",
        "-o",
        str(options.output / f"ours-{seed}"),
    ]
    data = [f"data.{split}={options.output / 'pairs.jsonl'}" for split in ("train", "validation")]
    data += [f"data.max_length={options.max_length}"]
    data[1] = f"data.validation={options.output / 'few.jsonl'}"
    train = [
        f"train.max_steps={options.steps}",
        f"train.per_device_train_batch_size={BATCH}",
        "train.num_train_epochs=null",
    ]
    train += [f"train.learning_rate={RATE}", "train.warmup_steps=0.1", "train.weight_decay=0.0", f"train.seed={seed}"]
    train += ["train.bf16=false", f"train.eval_steps={options.steps}"]
    subprocess.run([sys.executable, "-m", "llmkit", *run, *data, *train], check=True)
    return time.perf_counter() - began


def theirs(options: argparse.Namespace, rows: list[dict[str, str]], seed: int) -> float:
    """Train with the library; returns the seconds."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    began = time.perf_counter()
    model_options = {"attention_probs_dropout_prob": 0.0}
    model = SentenceTransformer(options.model_files, device="cpu", config_kwargs=model_options)
    model.max_seq_length = options.max_length
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(options.output / f"theirs-{seed}-training"),
        max_steps=options.steps,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        warmup_steps=0.1,
        weight_decay=0.0,
        lr_scheduler_type="linear",
        batch_sampler="no_duplicates",
        seed=seed,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    trainer = SentenceTransformerTrainer(
        model, arguments, train_dataset=Dataset.from_list(rows), loss=MultipleNegativesRankingLoss(model)
    )
    trainer.train()
    model.save(str(options.output / f"theirs-{seed}"), create_model_card=False)
    return time.perf_counter() - began


def by_library(model: Path, folder: Path) -> dict[str, float]:
    """The library's scores, in percent."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    def read(name: str) -> dict[str, str]:
        rows = map(json.loads, (folder / name).read_text(encoding="utf-8").splitlines())
        return {row["_id"]: row["text"] for row in rows}

    relevant: dict[str, set[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, _ = line.split("\t")
        relevant.setdefault(query, set()).add(document)
    evaluator = InformationRetrievalEvaluator(read("queries.jsonl"), read("corpus.jsonl"), relevant)
    found = evaluator(SentenceTransformer(str(model), device="cpu"))
    names = {"ndcg@10": "cosine_ndcg@10", "mrr@10": "cosine_mrr@10", "recall@10": "cosine_recall@10"}
    return {name: 100 * float(found[theirs]) for name, theirs in names.items()}


def by_llmkit(model: Path, folder: Path, max_length: int) -> dict[str, Any]:
    """llmkit's scores."""
    command = [sys.executable, "-m", "llmkit", "eval", str(model), "--task", "retrieval", "--data", str(folder)]
    done = subprocess.run(
        [*command, "--json", f"data.max_length={max_length}"], check=True, capture_output=True, text=True
    )
    scores: dict[str, Any] = json.loads(done.stdout)
    return {name: scores[name] for name in ("ndcg@10", "ndcg@10_interval", "mrr@10", "recall@10")}


def main() -> None:
    """Train and score both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="run or checkpoint to start from")
    parser.add_argument("--train", type=Path, required=True, help="SQuAD's JSON")
    parser.add_argument("--test", type=Path, required=True, help="the same, of other articles")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    inside = Path(options.model) / "model"
    options.model_files = str(inside if inside.is_dir() else options.model)
    options.output.mkdir(parents=True)
    rows = squad(options.train, options.pairs)
    for name, some in (("pairs.jsonl", rows), ("few.jsonl", rows[:64])):
        (options.output / name).write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    collection = options.output / "collection"
    write_collection(collection, squad(options.test, options.queries))
    for seed in range(1, options.seeds + 1):
        for name, train in (("ours", lambda n: ours(options, n)), ("theirs", lambda n: theirs(options, rows, n))):
            seconds = train(seed)
            model = options.output / f"{name}-{seed}"
            files = model / "model" if name == "ours" else model
            line = {"who": name, "seed": seed, "seconds": round(seconds, 1)}
            line |= {
                "library": by_library(files, collection),
                "llmkit": by_llmkit(model, collection, options.max_length),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
