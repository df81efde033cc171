"""Repositories for the stand-in Hub: the names, configurations, files and columns of the real ones, with a few rows.

Each `add_` function returns the commit hash of the branch that llmkit reads.
"""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import Features

from support.hub import StandInHub
from support.stereotypes import cloze_rows, pair_rows
from support.tasks import fixture, letters

Row = Mapping[str, Any]
Columns = list[dict[str, Any]]  # as the head of a README.md declares them
Splits = Mapping[str, Sequence[Row]]
Answered = tuple[list[tuple[int, int]], int]

# The branch on which the Hub keeps its own conversion of a data set, as CONFIG/SPLIT/0000.parquet.
PARQUET_BRANCH = "refs/convert/parquet"
TEXT_SCHEMA = pa.schema({"text": pa.string()})


def parquet(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    """The rows as one parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), buffer)
    return buffer.getvalue()


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows that the tests of tasks have."""
    return [json.loads(line) for line in fixture(name).read_text(encoding="utf-8").splitlines()]


def columns(kind: str, names: str) -> Columns:
    return [{"name": name, "dtype": kind} for name in names.split()]


def classes(names: Sequence[str]) -> dict[str, Any]:
    """The type of numbers that stand for labels."""
    return {"class_label": {"names": {str(number): name for number, name in enumerate(names)}}}


def declared(configs: Mapping[str, tuple[Columns, Splits]], shards: int = 1) -> dict[str, bytes]:
    """A README.md that declares the configurations, and their parquet files, which do not know names of labels."""
    infos, paths, files = [], [], {}
    for config, (features, splits) in configs.items():
        # datasets warns where num_bytes is missing, and checks num_examples.
        counts = [{"name": split, "num_bytes": 1, "num_examples": len(rows)} for split, rows in splits.items()]
        infos.append({"config_name": config, "features": features, "splits": counts})
        found = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
        paths.append({"config_name": config, "data_files": found})
        schema = Features._from_yaml_list(features).arrow_schema.remove_metadata()
        for split, rows in splits.items():
            size = -(-len(rows) // shards)
            for n in range(shards):
                name = f"{config}/{split}-{n:05d}-of-{shards:05d}.parquet"
                files[name] = parquet(rows[n * size : (n + 1) * size], schema)
    # YAML would write what comes twice as a reference to the first.
    head = json.loads(json.dumps({"dataset_info": infos, "configs": paths}))
    return {"README.md": f"---\n{yaml.safe_dump(head)}---\n".encode(), **files}


def with_script(hub: StandInHub, repo_id: str, converted: Mapping[str, bytes]) -> str:
    """A data set with a loading script on main, which only the parquet branch makes readable."""
    hub.add_dataset(repo_id, {"README.md": b"# Old\n", f"{repo_id.split('/')[1]}.py": b"# a loading script\n"})
    return hub.add_dataset(repo_id, converted, revision=PARQUET_BRANCH)


def _article(wiki: str, title: str, text: str) -> Row:
    return {"id": "12", "url": f"https://{wiki}.wikipedia.org/wiki/{title}", "title": title, "text": text}


ENGLISH_ARTICLES = [
    _article("en", "Tide", "A tide is the rise and fall of sea level.\n\nCauses\nThe Moon's gravity causes tides."),
    _article("en", "Lighthouse", "A lighthouse is a tower that guides ships.\n\nHistory\nEarly ones burned wood."),
    _article("en", "Harbor", "A harbor is a sheltered body of water where ships can be docked."),
]
SIMPLE_ARTICLES = [
    _article("simple", "Tide", "The tide is when the sea goes up and down."),
    _article("simple", "Ship", "A ship is a big boat."),
]
SENTENCES = [
    {"text": "the harbor was quiet when she came down the stairs ."},
    {"text": "`` you are early , '' he said without looking up ."},
    {"text": "she did n't answer ."},
    {"text": "outside , the tide had begun to turn ."},
    {"text": "he folded the map and put it in his coat ."},
]


def add_wikipedia(hub: StandInHub) -> str:
    """Two configurations, neither the default, in two files each."""
    features = columns("string", "id url title text")
    articles = {"20231101.en": ENGLISH_ARTICLES, "20231101.simple": SIMPLE_ARTICLES}
    configs = {config: (features, {"train": rows}) for config, rows in articles.items()}
    return hub.add_dataset("wikimedia/wikipedia", declared(configs, shards=2))


def add_bookcorpus(hub: StandInHub) -> str:
    """Two parquet files, and no README.md beside them."""
    parts = (SENTENCES[:3], SENTENCES[3:])
    files = {f"plain_text/train/000{n}.parquet": parquet(part, TEXT_SCHEMA) for n, part in enumerate(parts)}
    return with_script(hub, "bookcorpus/bookcorpus", files)


WEB_PAGES = [
    {"text": "Tides are caused by the Moon.", "id": "<urn:uuid:1>", "score": 3.1},
    {"text": "Lenses bend light.", "id": "<urn:uuid:2>", "score": 4.0},
]
COMMON_PAGES = [{"text": "Ships for sale.", "timestamp": "2019-04-25T12:57:54Z", "url": "https://example.org/ships"}]


def add_fineweb_edu(hub: StandInHub) -> str:
    """Two of its configurations: the sample, and all, which is the default."""
    schema = pa.schema({"text": pa.string(), "id": pa.string(), "score": pa.float64()})
    head = {
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/*/*"}]},
            {"config_name": "sample-10BT", "data_files": [{"split": "train", "path": "sample/10BT/*"}]},
        ]
    }
    files = {
        "data/CC-MAIN-2024-10/train-00000-of-00001.parquet": parquet(WEB_PAGES[1:], schema),
        "sample/10BT/000_00000.parquet": parquet(WEB_PAGES, schema),
    }
    return hub.add_dataset("HuggingFaceFW/fineweb-edu", {"README.md": _head(head), **files})


def add_c4(hub: StandInHub) -> str:
    """One of its configurations: lines of JSON, compressed."""
    head = {"configs": [{"config_name": "en", "data_files": [{"split": "train", "path": "en/c4-train.*.json.gz"}]}]}
    lines = "".join(json.dumps(row) + "\n" for row in COMMON_PAGES)
    files = {"en/c4-train.00000-of-01024.json.gz": gzip.compress(lines.encode())}
    return hub.add_dataset("allenai/c4", {"README.md": _head(head), **files})


def _head(declared: Mapping[str, Any]) -> bytes:
    return f"---\n{yaml.safe_dump(declared)}---\n".encode()


SQUAD_TRAIN, SQUAD_VALIDATION = rows_of("squad")[:2], rows_of("squad")[1:]
SQUAD_V2_VALIDATION = rows_of("squad_v2")[1:]


def add_squad(hub: StandInHub) -> str:
    return _add_squad(hub, "squad", "plain_text", {"train": SQUAD_TRAIN, "validation": SQUAD_VALIDATION})


def add_squad_v2(hub: StandInHub) -> str:
    splits = {"train": rows_of("squad_v2"), "validation": SQUAD_V2_VALIDATION}
    return _add_squad(hub, "squad_v2", "squad_v2", splits)


def _add_squad(hub: StandInHub, name: str, config: str, splits: Splits) -> str:
    return hub.add_dataset(
        f"rajpurkar/{name}", declared({config: (_span_columns("id title context question"), splits)})
    )


def _span_columns(texts: str) -> Columns:
    answers = {"name": "answers", "sequence": [*columns("string", "text"), *columns("int32", "answer_start")]}
    return [*columns("string", texts), answers]


def add_xquad(hub: StandInHub) -> str:
    """A configuration a language, for validation alone."""
    english = [{key: value for key, value in row.items() if key != "title"} for row in SQUAD_TRAIN]
    rows = {"xquad.en": english, "xquad.zh": rows_of("xquad")}
    features = _span_columns("id context question")
    return hub.add_dataset("google/xquad", declared({name: (features, {"validation": rows[name]}) for name in rows}))


def add_mlqa(hub: StandInHub) -> str:
    """A folder for each pair of languages, of the passage and of the question."""
    english = [{key: value for key, value in row.items() if key != "title"} for row in SQUAD_TRAIN]
    schema = Features._from_yaml_list(_span_columns("context question id")).arrow_schema.remove_metadata()
    files = {}
    for name, rows in {"mlqa.en.en": english, "mlqa.de.de": rows_of("mlqa"), "mlqa.de.en": rows_of("mlqa")[:1]}.items():
        for split, part in (("validation", rows), ("test", rows[:1])):
            files[f"{name}/{split}/0000.parquet"] = parquet(part, schema)
    return with_script(hub, "facebook/mlqa", files)


def add_cmrc2018(hub: StandInHub) -> str:
    rows = rows_of("cmrc2018")
    splits = {"train": rows, "validation": rows, "test": rows[:1]}
    return hub.add_dataset("hfl/cmrc2018", declared({"default": (_span_columns("id context question"), splits)}))


_PAGE = ["<P>", "A", "tide", "is", "the", "rise", "and", "fall", "of", "the", "sea", ".", "</P>"]
# Without what llmkit does not read: the HTML, places in bytes, and long answers.
_NQ_COLUMNS = yaml.safe_load("""
- {name: id, dtype: string}
- name: document
  struct: [{name: title, dtype: string}, {name: tokens, sequence: [
    {name: is_html, dtype: bool}, {name: token, dtype: string}]}]
- name: question
  struct: [{name: text, dtype: string}, {name: tokens, sequence: string}]
- name: annotations
  sequence:
  - {name: id, dtype: string}
  - name: short_answers
    sequence: [{name: end_token, dtype: int64}, {name: start_token, dtype: int64}, {name: text, dtype: string}]
  - {name: yes_no_answer, dtype: {class_label: {names: {"0": "NO", "1": "YES"}}}}
""")


def _nq(row_id: int, question: str, *people: Answered) -> Row:
    """Each person's short answers, as tokens from and to, and yes or no by number, -1 for neither."""

    def spans(found: list[tuple[int, int]]) -> Row:
        texts = [" ".join(_PAGE[start:end]) for start, end in found]
        return {"start_token": [start for start, _ in found], "end_token": [end for _, end in found], "text": texts}

    tokens = {"token": _PAGE, "is_html": [word.startswith("<") for word in _PAGE]}
    annotations = {
        "id": [str(number) for number in range(len(people))],
        "short_answers": [spans(found) for found, _ in people],
        "yes_no_answer": [yes_no for _, yes_no in people],
    }
    return {
        "id": str(row_id),
        "document": {"title": "Tide", "tokens": tokens},
        "question": {"text": question, "tokens": question.split()},
        "annotations": annotations,
    }


def add_natural_questions(hub: StandInHub) -> str:
    """The configuration default, and dev without training questions."""
    none: Answered = ([], -1)
    train = [
        _nq(-1, "what is a tide", ([(4, 12)], -1)),
        _nq(2, "what rises and falls", ([(2, 3), (10, 12)], -1)),
        _nq(3, "who owns the moon", none),
        _nq(4, "does the sea fall", ([], 1)),
    ]
    validation = [
        _nq(5, "what is a tide", ([(4, 12)], -1), ([(4, 8)], -1), none, none, none),
        _nq(6, "who owns the moon", ([(2, 3)], -1), none, none, none, none),
        _nq(7, "does the sea fall", ([], 1), ([], 1), ([], 0), none, none),
    ]
    default, dev = {"train": train, "validation": validation}, {"validation": validation}
    configs = {"default": (_NQ_COLUMNS, default), "dev": (_NQ_COLUMNS, dev)}
    return hub.add_dataset("google-research-datasets/natural_questions", declared(configs, shards=2))


_LABELS = {
    "cola": "unacceptable acceptable",
    "sst2": "negative positive",
    "mrpc": "not_equivalent equivalent",
    "qqp": "not_duplicate duplicate",
    "stsb": "",  # they are numbers
    "mnli": "entailment neutral contradiction",
    "qnli": "entailment not_entailment",
    "rte": "entailment not_entailment",
    "wnli": "not_entailment entailment",
}


def glue_rows(config: str, *, secret: bool = False) -> list[dict[str, Any]]:
    """The rows of a configuration; the labels of a test split are secret."""
    return [{**row, "label": type(row["label"])(-1) if secret else row["label"]} for row in rows_of(f"glue-{config}")]


# Of each configuration its columns of text, the names of its labels, and its rows as texts and a label.
GLUE = {
    config: (list(rows[0])[:-2], names.split(), [tuple(row.values())[:-1] for row in rows])
    for config, names in _LABELS.items()
    for rows in [glue_rows(config)]
}


def add_glue(hub: StandInHub) -> str:
    """MNLI has two validation and two test splits, matched and mismatched."""
    configs: dict[str, tuple[Columns, Splits]] = {}
    for name, (texts, names, _) in GLUE.items():
        label = {"name": "label", "dtype": classes(names) if names else "float32"}
        features = [*columns("string", " ".join(texts)), label, *columns("int32", "idx")]
        parts = ["_matched", "_mismatched"] if name == "mnli" else [""]
        splits = ["train", *(split + part for split in ("validation", "test") for part in parts)]
        configs[name] = features, {split: glue_rows(name, secret=split.startswith("test")) for split in splits}
    return hub.add_dataset("nyu-mll/glue", declared(configs))


CONLL_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
CONLL_SENTENCES = [(row["tokens"], [CONLL_TAGS.index(tag) for tag in row["ner_tags"]]) for row in rows_of("ner")]


def add_conll2003(hub: StandInHub) -> str:
    """A file a split, which names its tags itself."""
    lists = [{"name": "tokens", "sequence": "string"}, {"name": "ner_tags", "sequence": classes(CONLL_TAGS)}]
    rows = [{"id": str(n), "tokens": words, "ner_tags": tags} for n, (words, tags) in enumerate(CONLL_SENTENCES)]
    content = parquet(rows, Features._from_yaml_list([*columns("string", "id"), *lists]).arrow_schema)
    files = {f"conll2003/{split}/0000.parquet": content for split in ("train", "validation", "test")}
    return with_script(hub, "eriktks/conll2003", files)


_BIASES = ("age", "hand", "height", "home")


def add_crows_pairs(hub: StandInHub) -> str:
    """One split, whose labels are numbers with names."""
    labels = [
        {"name": "stereo_antistereo", "dtype": classes(("stereo", "antistereo"))},
        {"name": "bias_type", "dtype": classes(_BIASES)},
    ]
    features = [*columns("int32", "id"), *columns("string", "sent_more sent_less"), *labels]
    numbers = {"stereo": 0, "antistereo": 1}
    rows = [
        {
            "id": n,
            **row,
            "stereo_antistereo": numbers[row["stereo_antistereo"]],
            "bias_type": _BIASES.index(row["bias_type"]),
        }
        for n, row in enumerate(pair_rows())
    ]
    content = parquet(rows, Features._from_yaml_list(features).arrow_schema)
    return with_script(hub, "nyu-mll/crows_pairs", {"crows_pairs/test/0000.parquet": content})


def add_stereoset(hub: StandInHub) -> str:
    """The intrasentence part; gold labels are numbers, in a list of each row."""
    gold = ("anti-stereotype", "stereotype", "unrelated")
    sentences = [*columns("string", "sentence id"), {"name": "gold_label", "dtype": classes(gold)}]
    features = [*columns("string", "id target bias_type context"), {"name": "sentences", "sequence": sentences}]
    rows = [
        {
            **row,
            "sentences": {
                "sentence": [each["sentence"] for each in row["sentences"]],
                "id": [each["id"] for each in row["sentences"]],
                "gold_label": [gold.index(each["gold_label"]) for each in row["sentences"]],
            },
        }
        for row in cloze_rows()
    ]
    return hub.add_dataset("McGill-NLP/stereoset", declared({"intrasentence": (features, {"validation": rows})}))


def add_bert(hub: StandInHub) -> str:
    """As the real one: all of `BertForPreTraining`, whose heads most models do not use, and LayerNorm's old names."""
    import torch
    from safetensors.torch import save
    from transformers import BertConfig, BertForPreTraining

    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), architectures=["BertForMaskedLM"], **shape)
    with torch.random.fork_rng():  # a caller's own seed stays where it was
        torch.manual_seed(0)
        model = BertForPreTraining(config)
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("cls.predictions.decoder.")  # tied: safetensors takes no tensor twice
    }
    files = {
        "config.json": config.to_json_string().encode(),
        "model.safetensors": save(weights, metadata={"format": "pt"}),
        "tokenizer.json": tokenizer.backend_tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps({"do_lower_case": False, "model_max_length": 512}).encode(),
    }
    return hub.add_model("google-bert/bert-base-uncased", files)
