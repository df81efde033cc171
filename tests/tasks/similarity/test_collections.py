"""Retrieval is scored as sentence-transformers' evaluator does, on pairs and on collections of every layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tasks import fixture, letters

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.similarity.collection import collection_of
from llmkit.tasks.similarity.rows import texts_of
from llmkit.tasks.values import Codec

TASK = TASKS["retrieval"]
CORPUS = [{"_id": f"d{n}", "title": "Ship" if n % 2 else "", "text": f"passage {n}"} for n in range(30)]
QUERIES = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(8)]
JUDGED = [
    (f"q{n}", f"d{(7 * n + k) % 30}", int(k < 3)) for n in range(7) for k in range(4)
]  # q7 has none, a fourth is 0


def as_beir(folder: Path) -> Path:
    folder.mkdir()
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels").mkdir()
    lines = [f"{query}\t{document}\t{score}\n" for query, document, score in JUDGED]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def as_nano(folder: Path) -> Path:
    """NanoBEIR's repositories: a folder of parquet files for each configuration, and judgements without scores."""
    judged = [{"query-id": query, "corpus-id": document} for query, document, score in JUDGED if score]
    corpus = [{"_id": row["_id"], "text": f"{row['title']} {row['text']}".strip()} for row in CORPUS]
    for name, rows in {"corpus": corpus, "queries": QUERIES, "qrels": judged}.items():
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / name / "train-00000-of-00001.parquet")
    return folder


def section(folder: Path | str, **more: Any) -> Any:
    return TASK.data_class(path=str(folder), **more)


@pytest.mark.parametrize("layout", [as_beir, as_nano])
def test_scores_are_those_of_the_librarys_evaluator(layout: Any, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    data = section(layout(tmp_path / "data"))
    examples = load_examples(TASK, data, ["validation"])["validation"]
    texts = texts_of(examples)
    vectors = np.random.default_rng(1).normal(size=(len(texts), 6)).astype(np.float32)
    vectors[texts.index("passage 4")] = vectors[texts.index("passage 2")]  # equal cosines
    codec = Codec(letters())
    features = TASK.encode(examples, codec, data, training=False)
    predictions = TASK.decode([{"vector": vector} for vector in vectors], features, examples, codec, data)
    assert [one.id for one in predictions] == examples["id"][:]
    assert [one.text != "" for one in predictions] == [True] * 7 + [False] * 30
    found = TASK.score(predictions, examples, data)
    assert (found["total"], found["documents"]) == (7, 30)

    class Model:
        similarity_fn_name = "cosine"

        def encode_query(self, given: list[str], **_: Any) -> torch.Tensor:
            return torch.tensor(vectors[[texts.index(text) for text in given]])

        encode_document = encode_query

        @staticmethod
        def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T

        model_card_data = None

    relevant: dict[str, set[str]] = {}
    for query, document, score in JUDGED:
        if score:
            relevant.setdefault(query, set()).add(document)
    documents = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in CORPUS}
    evaluator = InformationRetrievalEvaluator({row["_id"]: row["text"] for row in QUERIES}, documents, relevant)
    evaluator.store_metrics_in_model_card_data = lambda *given: None
    expected = evaluator(Model())
    for name in ("ndcg@10", "mrr@10", "recall@10", "accuracy@1"):
        assert found[name] == pytest.approx(100 * expected[f"cosine_{name}"]), name
    assert 0 < found["ndcg@10"] < 100
    low, high = found["ndcg@10_interval"]
    assert low < found["ndcg@10"] < high


def test_the_files_of_a_collection_may_be_named(tmp_path: Path) -> None:
    folder = as_beir(tmp_path / "data")
    data = TASK.data_class(train=str(folder), validation=str(folder))
    examples = load_examples(TASK, data, ["validation"])["validation"]
    assert len(collection_of(examples).queries) == 7


def test_judgements_of_the_training_split_are_pairs_to_learn_from(tmp_path: Path) -> None:
    folder = as_beir(tmp_path / "data")
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq7\td1\t1\nq7\td2\t1\n")
    found = load_examples(TASK, section(folder), ["train", "validation"])
    assert [(row["text"], row["pair"]) for row in found["train"]] == [
        ("query 7", "Ship passage 1"),
        ("query 7", "passage 2"),
    ]
    assert len(collection_of(found["train"]).queries[0].relevant) == 2, "both belong to it"
    assert len(collection_of(found["validation"]).queries) == 7


def test_a_query_may_have_the_id_of_a_document(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    for name, text in (("corpus", "passage"), ("queries", "query")):
        rows = [json.dumps({"_id": str(n), "text": f"{text} {n}"}) for n in range(3)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t2\t1\n2\t1\t1\n")
    examples = load_examples(TASK, section(folder), ["validation"])["validation"]
    assert examples["id"][:] == ["query 1", "query 2", "0", "1", "2"]
    collection = collection_of(examples)
    assert [(query.text, query.relevant) for query in collection.queries] == [("query 1", {"2"}), ("query 2", {"1"})]
    assert collection.documents == {str(n): f"passage {n}" for n in range(3)}


def test_max_samples_limits_the_queries_alone(tmp_path: Path) -> None:
    folder = as_beir(tmp_path / "data")
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "train.tsv")
    found = load_examples(TASK, section(folder, max_samples=2), ["train", "validation"])
    collection = collection_of(found["validation"])
    assert [query.text for query in collection.queries] == ["query 0", "query 1"]
    assert len(collection.documents) == 30, "all that there are to find"
    assert len(found["train"]) == 2, "pairs"
    pairs = TASK.data_class(train=str(fixture("retrieval")), max_samples=1)
    assert len(load_examples(TASK, pairs, ["train"])["train"]) == 1


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td99\t1\n", "its judgements name 'd99'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t0\n", "no query has a relevant document"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t\n", "test.tsv:2: 'score' is empty"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "test.tsv:2: 'score' is not a number: 'yes'"),
        ("corpus.jsonl", '{"id": "d1", "text": "a"}\n', "corpus.jsonl:1: no '_id'"),
        ("qrels/train.tsv", "query-id\tcorpus-id\n", "no judgements for the split other (qrels: test.tsv, train.tsv)"),
    ],
)
def test_what_is_wrong_with_a_collection_is_said(file: str, content: str, told: str, tmp_path: Path) -> None:
    folder = as_beir(tmp_path / "data")
    (folder / file).write_text(content)
    with pytest.raises(UserError) as error:
        load_examples(TASK, section(folder), ["other" if "train" in file else "validation"])
    assert told in str(error.value)


def test_each_task_says_what_it_is_scored_on(tmp_path: Path) -> None:
    scored, pairs = fixture("similarity"), fixture("retrieval")
    for name, file, told in (
        ("similarity", pairs, "similarity is scored on pairs with a score; the validation data are triplets"),
        ("retrieval", scored, "the validation data are pairs with a score"),
    ):
        task = TASKS[name]
        data = task.data_class(train=str(file), validation=str(file))
        examples = load_examples(task, data, ["validation"])["validation"]
        with pytest.raises(UserError) as error:
            task.check_scores(examples, data)
        assert told in str(error.value)
