"""Record what official scorers give on random answers, for the tests of llmkit/metrics to compare with.

    python tests/record_official_scores.py squad evaluate-v1.1.py evaluate-v2.0.py
    python tests/record_official_scores.py entities FOLDER_WITH_SEQEVAL
    python tests/record_official_scores.py natural-questions nq_eval.py
    python tests/record_official_scores.py mlqa mlqa_evaluation_v1.py
    python tests/record_official_scores.py cmrc2018 squad-style-data/cmrc2018_evaluate.py
    python tests/record_official_scores.py bleu

Run by hand, and only to change the recorded answers: the scorers are not part of this repository. A seed gives
the same answers. Files are written to tests/data:

official_squad_scores.jsonl.gz
    a line per pair: [prediction, golds, v1.1's [em, f1], v2.0's [em, f1]]; scores go from 0 to 1, and v1.1's
    are null where there is no gold text. The original scripts will do, and so will the two compute_score.py of
    the Hub's metrics squad and squad_v2; both give the same files
official_squad_aggregates.json.gz
    a list of runs of a whole script over pairs[start:stop], pair i having the id "q<i>": its version, what it
    was given and what it printed
official_entity_scores.jsonl.gz
    a line per data set of a few sentences: scheme, references, predictions, and seqeval 1.2.2's report, which
    goes from 0 to 1. The scheme is null in seqeval's default mode and BILOU in its strict mode. The folder is
    one that `pip install --no-deps --target` made
official_nq_scores.jsonl.gz
    a line per data set: non_null (the flag short_non_null_threshold), predictions (a span, "yes", "no" or null),
    scores, annotations (lists of spans, "yes" or "no"), and the metrics of short answers, which go from 0 to 1.
    nq_eval.py needs its eval_utils.py beside it, and the packages absl-py and six
official_mlqa_scores.jsonl.gz
    a line per pair: [language, prediction, golds, [em, f1]] from 0 to 1
official_mlqa_aggregates.json.gz
    what the whole script printed for the pairs of each language, as {language: output}; every 17th has no prediction
official_cmrc2018_scores.jsonl.gz
    a line per pair: [prediction, golds, [em, f1]] from 0 to 1. The script is for Python 2; what Python 3 lacks is taken
    out of it. It needs NLTK's data punkt_tab. Pairs are left out if it matters that this divides English text into
    sentences: llmkit does without
official_bleu_scores.jsonl.gz
    a line per data set: language, hypotheses, references, and sacrebleu's bleu in percent with its signature. Needs
    the packages of sacrebleu[ja,ko]
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

DATA = Path(__file__).parent / "data"
PAIRS = 16_000

ARTICLES = ["the", "The", "THE", "a", "A", "an", "An", "a,", "the.", "(an)", '"the"']
PLAIN = ["river", "rivers", "bank", "Bank", "Denver", "Broncos", "1976", "1,976", "fire"]
PUNCTUATED = [
    "$3.5",
    "3.5%",
    "Dr.",
    "U.S.",
    "don't",
    "it's",
    "mother-in-law",
    "x_a_y",
    "a-b",
    "[1]",
    "&",
    "/",
]
ACCENTED = ["Beyoncé", "Beyonce\u0301", "naïve", "nai\u0308ve", "e\u0301", "a\u0301", "a\u0308n", "Łódź"]
CASED = ["İstanbul", "istanbul", "Straße", "STRASSE", "\ufb01re", "Ελλάς", "ελλάσ", "Москва"]
FULL_WIDTH = ["１９７６", "ＡＢＣ", "Ｔｈｅ", "ａ"]
UNSPACED = ["東京", "the東京", "東京タワー", "北京。", "한국어", "हिन्दी", "العربية", "ไทย"]
SYMBOLS = ["🙂", "👩\u200d🔬", "🇩🇪", "zero\u200bwidth", "soft\u00adhyphen", "°", "²", "½", "№"]
QUOTED = ["“quoted”", "«a»", "‘the’", "—", "–", "…"]
WORDS = [
    *ARTICLES, *PLAIN, *PUNCTUATED, *ACCENTED, *CASED, *FULL_WIDTH, *UNSPACED, *SYMBOLS, *QUOTED
]  # fmt: skip
SEPARATORS = [" "] * 12 + ["  ", "\u00a0", "\u3000", "\u2009", "\t", "\n", "-", "", ", ", " — "]
NOTHING = ["", " ", "the", "The", "a an", ".", "...", "the.", "\u00a0", "\u3000", " - ", '"a"']


def random_text(rng: random.Random) -> str:
    words = rng.choices(WORDS, k=rng.choice([1, 1, 2, 2, 3, 4, 6]))
    return words[0] + "".join(rng.choice(SEPARATORS) + word for word in words[1:])


def variant(rng: random.Random, text: str) -> str:
    """`text` as another annotator, or a model close to right, would give it."""
    words = text.split(" ")
    edit = rng.randrange(6)
    if edit == 0:
        return rng.choice(["the ", "a ", "", "(", "“"]) + text + rng.choice(["", ".", ",", " ", "!", "…"])
    if edit == 1:
        return rng.choice([text.upper(), text.lower(), text.title()])
    if edit == 2 and len(words) > 1:
        del words[rng.randrange(len(words))]
        return " ".join(words)
    if edit == 3:
        words.insert(rng.randrange(len(words) + 1), rng.choice(WORDS))
        return " ".join(words)
    if edit == 4:
        return " ".join(rng.sample(words, len(words)))
    return text


def random_pair(rng: random.Random) -> tuple[str, list[str]]:
    base = random_text(rng)
    golds = [variant(rng, base) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    if rng.random() < 0.05:
        golds[rng.randrange(len(golds))] = rng.choice(NOTHING)
    if rng.random() < 0.25:
        golds = []
    if rng.random() < 0.12:
        return rng.choice(NOTHING), golds
    return (variant(rng, base) if rng.random() < 0.8 else random_text(rng)), golds


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dataset(answers: dict[str, list[str]], *, columns: bool) -> list[dict[str, Any]]:
    """SQuAD's `data`; with `columns`, answers are the Hub's dict of lists, not a list of dicts."""
    qas = [
        {"id": id_, "answers": {"text": golds} if columns else [{"text": gold} for gold in golds]}
        for id_, golds in answers.items()
    ]
    return [{"paragraphs": [{"qas": qas}]}]


def reads_columns(v2: ModuleType) -> bool:
    """Whether this v2.0 script wants answers as the Hub's dict of lists."""
    has_answer: dict[str, bool] = v2.make_qid_to_has_ans(dataset({"q": []}, columns=True))
    return not has_answer["q"]


def run_script(script: Path, data: dict[str, Any], predictions: dict[str, str], *more: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        data_file, prediction_file = Path(folder, "data.json"), Path(folder, "predictions.json")
        data_file.write_text(json.dumps(data))
        prediction_file.write_text(json.dumps(predictions))
        command = [sys.executable, str(script), str(data_file), str(prediction_file), *more]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def score_pairs(v1: ModuleType, v2: ModuleType, pairs: list[tuple[str, list[str]]]) -> list[list[Any]]:
    answers = {f"q{i}": golds for i, (_, golds) in enumerate(pairs)}
    predictions = {f"q{i}": prediction for i, (prediction, _) in enumerate(pairs)}
    exact, f1 = v2.get_raw_scores(dataset(answers, columns=reads_columns(v2)), predictions)
    lines: list[list[Any]] = []
    for i, (prediction, golds) in enumerate(pairs):
        first = [
            float(v1.metric_max_over_ground_truths(function, prediction, golds))
            for function in (v1.exact_match_score, v1.f1_score)
            if golds
        ]
        lines.append([prediction, golds, first or None, [float(exact[f"q{i}"]), float(f1[f"q{i}"])]])
    return lines


def aggregate_v1(script: Path, pairs: list[tuple[str, list[str]]], start: int, stop: int, miss: int) -> Any:
    """A run of v1.1 over the pairs that have golds; every `miss`-th question gets no prediction."""
    chosen = {f"q{i}": pairs[i] for i in range(start, stop) if pairs[i][1]}
    missing = list(chosen)[::miss] if miss else []
    answers = {id_: golds for id_, (_, golds) in chosen.items()}
    predictions = {id_: text for id_, (text, _) in chosen.items() if id_ not in missing}
    data = {"version": "1.1", "data": dataset(answers, columns=False)}
    output = run_script(script, data, predictions)
    return {"version": "1.1", "start": start, "stop": stop, "missing": missing, "output": output}


def aggregate_v2(
    script: Path,
    pairs: list[tuple[str, list[str]]],
    start: int,
    stop: int,
    *,
    answerable: list[bool],
    informative: bool,
    digits: int,
    threshold: float,
    columns: bool,
    rng: random.Random,
) -> Any:
    """A run of v2.0 over the pairs whose question is one of `answerable`, with made-up probabilities.

    Few `digits` make many probabilities equal; informative ones are higher where there is no gold text.
    """
    chosen = {f"q{i}": pairs[i] for i in range(start, stop) if bool(pairs[i][1]) in answerable}
    na_probs = {}
    for id_ in rng.sample(list(chosen), len(chosen)):
        shift = 0.3 * (not chosen[id_][1]) if informative else 0.0
        na_probs[id_] = round(min(1.0, rng.random() * 0.7 + shift), digits)
    predictions = {id_: chosen[id_][0] for id_ in na_probs}
    data = {"data": dataset({id_: golds for id_, (_, golds) in chosen.items()}, columns=columns)}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as na_file:
        json.dump(na_probs, na_file)
        na_file.flush()
        options = ["--na-prob-file", na_file.name, "--na-prob-thresh", str(threshold)]
        output = run_script(script, data, predictions, *options)
    return {
        "version": "2.0",
        "start": start,
        "stop": stop,
        "na_probs": na_probs,
        "threshold": threshold,
        "output": output,
    }


def write_gz(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


def record_squad(options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    v2 = load(options.v2)
    pairs = [random_pair(rng) for _ in range(PAIRS)]
    lines = score_pairs(load(options.v1), v2, pairs)

    runs = [aggregate_v1(options.v1, pairs, 0, PAIRS, miss) for miss in (0, 17)]
    for start, stop, answerable, informative, digits, threshold in (
        (0, 2000, [True, False], True, 6, 1.0),
        (2000, 4000, [True, False], True, 2, 0.5),
        (4000, 5000, [True, False], False, 6, 0.25),
        (5000, 5500, [True], False, 3, 0.5),
        (5500, 7000, [False], False, 3, 0.5),
        (7000, 7003, [True, False], True, 1, 1.0),
    ):
        run = aggregate_v2(
            options.v2,
            pairs,
            start,
            stop,
            answerable=answerable,
            informative=informative,
            digits=digits,
            threshold=threshold,
            columns=reads_columns(v2),
            rng=rng,
        )
        runs.append(run)

    write_lines(options.output / "official_squad_scores.jsonl.gz", lines)
    write_gz(options.output / "official_squad_aggregates.json.gz", json.dumps(runs))


# Words of each language, with its articles and near misses of them, and what else answers hold.
LANGUAGES = {
    "en": "the The A an theme river bank, Denver's don't U.S.",
    "es": "el El La las unos río niño, año ¿qué? Delta",
    "de": "der Die das Haus eines Straße, über Dennoch desto",
    "ar": "المدينة كتاب، ال الكتاب والكتاب البحر؟ في قال",
    "hi": "मेले में तीन सौ किताबें। और बच्चों क़लम ज़",
    "vi": "của là Hà Nội, cái sông chiếc những Cái người",
    "zh": "东港的灯塔 大火之后， 重新 点亮 龥 龦 㐀 ＡＢＣ 東京タワー 镇长。",
}
ANYWHERE = [
    "$3.5",
    "x^y",
    "1976",
    "“q”",
    "—",
    "…",
    "🙂",
    "½",
    "İ",
    "e\u0301",
    "「」",
    "x_a",
    "`b`",
    "《书》",
    "~",
    "a+b=c",
    "<x>",
    "A|B",
    "^",
]


def random_pair_in(rng: random.Random, language: str) -> tuple[str, list[str]]:
    """A prediction, and the answers of one to three people who nearly agree, in a language."""
    words = LANGUAGES[language].split(" ")
    glue = ["", "", " ", "，", "-"] if language == "zh" else [" ", " ", " ", "", "\u00a0", "\u3000", "\n", "-", ", "]

    def phrase() -> str:
        drawn = [rng.choice(words if rng.random() < 0.8 else ANYWHERE) for _ in range(rng.randint(1, 5))]
        return drawn[0] + "".join(rng.choice(glue) + word for word in drawn[1:])

    def nearly(text: str) -> str:
        cut = rng.randint(0, len(text))
        edits = [
            text,
            text,
            text[:cut],
            text[cut:],
            text.upper(),
            f"{rng.choice(words)} {text}",
            f" {text}\n",
            text + rng.choice(".。!"),
        ]
        return rng.choice(edits)

    base = phrase()
    golds = [nearly(base) for _ in range(rng.choice([1, 1, 2, 3]))]
    return (nearly(base) if rng.random() < 0.85 else phrase()), golds


def record_mlqa(options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    mlqa = load(options.mlqa)
    lines, outputs = [], {}
    for language in LANGUAGES:
        pairs = [random_pair_in(rng, language) for _ in range(800)]
        for prediction, golds in pairs:
            scores = [
                float(mlqa.metric_max_over_ground_truths(function, prediction, golds, language))
                for function in (mlqa.exact_match_score, mlqa.f1_score)
            ]
            lines.append([language, prediction, golds, scores])
        data = {"version": 1.0, "data": dataset({f"q{i}": golds for i, (_, golds) in enumerate(pairs)}, columns=False)}
        predictions = {f"q{i}": text for i, (text, _) in enumerate(pairs) if i % 17}
        outputs[language] = run_script(options.mlqa, data, predictions, language)
    write_lines(options.output / "official_mlqa_scores.jsonl.gz", lines)
    write_gz(options.output / "official_mlqa_aggregates.json.gz", json.dumps(outputs))


def record_cmrc2018(options: argparse.Namespace) -> None:
    source = options.cmrc2018.read_text(encoding="utf-8")
    for old, new in {
        "reload(sys)": "",
        "sys.setdefaultencoding('utf8')": "",
        "ur'": "r'",
        ".decode('utf-8')": "",
    }.items():
        assert old in source
        source = source.replace(old, new)
    cmrc = ModuleType("cmrc2018_evaluate")
    exec(source, vars(cmrc))
    rng = random.Random(options.seed)
    lines, left_out = [], 0
    nltk, divided = vars(cmrc)["nltk"], False

    def word_tokenize(text: str) -> list[str]:
        nonlocal divided
        words: list[str] = nltk.word_tokenize(text)
        divided = divided or words != nltk.word_tokenize(text, preserve_line=True)
        return words

    vars(cmrc)["nltk"] = SimpleNamespace(word_tokenize=word_tokenize)
    while len(lines) < 1500:
        prediction, golds = random_pair_in(rng, "zh" if rng.random() < 0.8 else "en")
        divided = False
        scores = [float(cmrc.calc_em_score(golds, prediction)), float(cmrc.calc_f1_score(golds, prediction))]
        if divided:
            left_out += 1
        else:
            lines.append([prediction, golds, scores])
    print(f"{left_out} pairs are left out")
    write_lines(options.output / "official_cmrc2018_scores.jsonl.gz", lines)


SENTENCES = {
    "zh": ["东港的灯塔在昨夜的大火之后重新点亮。", "镇长感谢了消防员，他们来自3个城市。", "ABC公司售出1,500本书。"],
    "ja": [
        "犬が草の上を速く走ります。",
        "東京タワーは1958年に建てられました。",
        "猫は家で静かに眠っています、とABC社は言った。",
    ],
    "ko": [
        "개가 풀밭 위를 빠르게 달립니다.",
        "서울 타워는 1969년에 지어졌습니다.",
        "고양이는 집에서 조용히 자고 있습니다.",
    ],
    "de": ["Der Hund läuft schnell über das Gras.", "Der Turm wurde 1958 gebaut.", "Die Katze schläft ruhig."],
}
BLEU_TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "de": "13a"}


def record_bleu(options: argparse.Namespace) -> None:
    from sacrebleu.metrics import BLEU

    rng = random.Random(options.seed)
    lines = []
    for language, sentences in SENTENCES.items():
        for _ in range(15):
            references = ["".join(rng.sample(sentences, rng.randint(1, 3))) for _ in range(rng.randint(3, 9))]
            hypotheses = []
            for text in references:
                start, stop = rng.randint(0, 3), rng.randint(0, 5)
                hypotheses.append(text[start : len(text) - stop] if rng.random() < 0.7 else text)
            metric = BLEU(tokenize=BLEU_TOKENIZERS[language])
            bleu = metric.corpus_score(hypotheses, [references]).score
            line = {"language": language, "hypotheses": hypotheses, "references": references, "bleu": bleu}
            lines.append({**line, "signature": str(metric.get_signature())})
    write_lines(options.output / "official_bleu_scores.jsonl.gz", lines)


def write_lines(path: Path, lines: list[Any]) -> None:
    write_gz(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


TYPES = ["PER", "LOC", "ORG", "a-b", ""]


def random_tags(rng: random.Random, letters: str, words: int) -> list[str]:
    """Tags that mostly follow no scheme; the fewer the types, the longer the entities."""
    types = rng.sample(TYPES, rng.choice([1, 1, 2, 3]))
    tags = [rng.choice(letters) for _ in range(words)]
    return [tag if tag == "O" or not (name := rng.choice(types)) else f"{tag}-{name}" for tag in tags]


def bilou_tags(rng: random.Random, words: int) -> list[str]:
    tags: list[str] = []
    while len(tags) < words:
        name, length = rng.choice(TYPES[:3]), rng.randint(1, 4)
        inside = ["I"] * (length - 2)
        entity = ["U"] if length == 1 else ["B", *inside, "L"]
        tags += ["O"] * rng.randint(0, 2) + [f"{letter}-{name}" for letter in entity]
    return tags


def record_entities(options: argparse.Namespace) -> None:
    sys.path.insert(0, str(options.folder))
    from seqeval.metrics import classification_report
    from seqeval.scheme import BILOU

    warnings.simplefilter("ignore")  # of divisions by zero
    rng = random.Random(options.seed)
    lines = []
    for _ in range(300):
        letters = rng.choice(["BIO", "IO", "IEO", "BIESO", "BIESOOO", "BESO"])
        references = [random_tags(rng, letters, rng.randint(0, 9)) for _ in range(rng.randint(1, 4))]
        predictions = [
            [tag if rng.random() < 0.8 else other for tag, other in zip(tags, others, strict=True)]
            for tags, others in ((tags, random_tags(rng, letters, len(tags))) for tags in references)
        ]
        report = classification_report(references, predictions, output_dict=True)
        lines.append([None, references, predictions, report])
    for _ in range(50):
        references = [bilou_tags(rng, rng.randint(1, 9)) for _ in range(rng.randint(1, 4))]
        # Whole entities are changed: what BILOU can't read, strict mode drops and the default mode repairs.
        renamed = rng.choice(TYPES[:3])
        predictions = [[tag.replace("PER", renamed) for tag in tags] for tags in references]
        predictions = [["O" if tag.startswith("U") and rng.random() < 0.5 else tag for tag in t] for t in predictions]
        options_ = {"mode": "strict", "scheme": BILOU, "output_dict": True}
        lines.append(["BILOU", references, predictions, classification_report(references, predictions, **options_)])
    for _, _, _, report in lines:
        for row in report.values():
            row["support"] = int(row["support"])
            row.update({name: float(value) for name, value in row.items() if name != "support"})
    write_lines(options.output / "official_entity_scores.jsonl.gz", lines)


def random_answers(rng: random.Random, count: int) -> list[Any]:
    """Annotations or predictions of one question, alike enough to agree now and then."""
    span = [rng.randint(0, 3), rng.randint(4, 6)]
    choices: list[Any] = [[], [], [span], [span], [span], [span, [9, 12]], "yes", "no"]
    return [rng.choice(choices) for _ in range(count)]


def record_nq(options: argparse.Namespace) -> None:
    sys.path.insert(0, str(options.nq_eval.parent))
    nq_eval = load(options.nq_eval)
    utils = nq_eval.util
    flags = utils.FLAGS
    flags(["nq_eval", "--gold_path=unused", "--predictions_path=unused"])
    rng = random.Random(options.seed)

    def label(answer: Any, score: float) -> Any:
        none, yes_no = utils.Span(-1, -1, -1, -1), answer if isinstance(answer, str) else "none"
        spans = [] if yes_no != "none" else [utils.Span(-1, -1, *span) for span in answer]
        return utils.NQLabel("", none, spans, yes_no, long_score=0.0, short_score=score)

    lines = []
    for annotators, non_null, questions, digits in [(5, 2, 40, 1), (5, 2, 40, 6), (1, 1, 20, 2), (5, 3, 3, 0)] * 20:
        flags.short_non_null_threshold = non_null
        answers = [random_answers(rng, annotators + 1) for _ in range(rng.randint(1, questions))]
        # One span at most is predicted; a second one is left out.
        predicted = [first if isinstance(first, str) else first[:1] for first, *_ in answers]
        scores = [round(rng.uniform(-3, 3), digits) for _ in answers]
        gold = {i: [label(a, 0.0) for a in annotations] for i, (_, *annotations) in enumerate(answers)}
        given = {i: label(a, s) for i, (a, s) in enumerate(zip(predicted, scores, strict=True))}
        stats = nq_eval.score_answers(gold, given)
        metrics = {**nq_eval.get_metrics_with_answer_stats(*stats), **nq_eval.compute_final_f1(*stats)}
        short = {name: value for name, value in metrics.items() if name.startswith("short-")}
        lines.append(
            {
                "non_null": non_null,
                "predictions": [a if isinstance(a, str) else a[0] if a else None for a in predicted],
                "scores": scores,
                "annotations": [annotations for _, *annotations in answers],
                "metrics": short,
            }
        )
    write_lines(options.output / "official_nq_scores.jsonl.gz", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=DATA, help="folder for the files (tests/data)")
    commands = parser.add_subparsers(required=True)
    squad = commands.add_parser("squad")
    squad.add_argument("v1", type=Path, help="evaluate-v1.1.py")
    squad.add_argument("v2", type=Path, help="evaluate-v2.0.py")
    squad.set_defaults(record=record_squad)
    entities = commands.add_parser("entities")
    entities.add_argument("folder", type=Path, help="where seqeval is installed")
    entities.set_defaults(record=record_entities)
    nq = commands.add_parser("natural-questions")
    nq.add_argument("nq_eval", type=Path, help="nq_eval.py")
    nq.set_defaults(record=record_nq)
    mlqa = commands.add_parser("mlqa")
    mlqa.add_argument("mlqa", type=Path, help="mlqa_evaluation_v1.py")
    mlqa.set_defaults(record=record_mlqa)
    cmrc2018 = commands.add_parser("cmrc2018")
    cmrc2018.add_argument("cmrc2018", type=Path, help="cmrc2018_evaluate.py for SQuAD-style data")
    cmrc2018.set_defaults(record=record_cmrc2018)
    commands.add_parser("bleu").set_defaults(record=record_bleu)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    options.record(options)


if __name__ == "__main__":
    main()
