"""Scores of generated texts are those of their libraries, in languages beyond English too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from datasets import Dataset
from rouge_score.rouge_scorer import RougeScorer
from support import Command
from support.recordings import recorded

from llmkit.tasks import TASKS
from llmkit.tasks.bootstrap import scores_of
from llmkit.tasks.measures import Measured
from llmkit.tasks.text.generation_metrics import ROUGE, bleu_and_chrf, bleu_metric, rouge
from llmkit.tasks.text.sections import TextData

pytestmark = pytest.mark.oldest
BLEU: list[dict[str, Any]] = recorded("official_bleu_scores.jsonl.gz")
PACKAGES = {"ja": "MeCab", "ko": "mecab_ko"}


def bleu_scores(hypotheses: list[str], references: list[str], language: str | None = None) -> dict[str, Any]:
    """BLEU and chrF with their intervals and signatures."""
    found = bleu_and_chrf(hypotheses, references, language)
    measures = {name: Measured(measure, range(len(references))) for name, (measure, _) in found.items()}
    return scores_of(measures) | {f"{name}_signature": signature for name, (_, signature) in found.items()}


def test_rouge_and_bleu_are_those_of_their_libraries() -> None:
    texts = ["The ships sailed.", "A dog runs over the green grass.", "nothing alike"]
    others = ["The ship sails.", "A dog runs over the grass.", "zzz"]
    found, tokenizer = rouge(texts, others)
    assert tokenizer == "rouge-score: a-z and 0-9, stemmed"
    assert found["rouge1"] == pytest.approx([1.0, 12 / 13, 0.0]), "sailed and sails have one stem"
    assert found["rouge2"][1] == pytest.approx(2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5))
    assert {name: values[0] for name, values in rouge(texts, texts)[0].items()} == pytest.approx(
        dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), 1.0)
    )
    scores = bleu_scores(texts, texts)
    for name in ("bleu", "chrf"):
        official = getattr(sacrebleu, f"corpus_{name}")(others, [texts]).score
        assert bleu_scores(others, texts)[name] == pytest.approx(official)
    assert scores["bleu"] == pytest.approx(100.0)
    assert scores["chrf"] == pytest.approx(100.0)
    assert "version:" in scores["bleu_signature"]
    worse = bleu_scores(texts, others)
    low, high = worse["chrf_interval"]
    assert 0 <= low < high <= 100
    assert bleu_scores(texts[:1], texts[:1])["bleu_interval"] is None


@pytest.mark.parametrize("language", ["zh", "ja", "ko", "de"])
def test_bleu_equals_sacrebleus_recorded_output(language: str) -> None:
    if language in PACKAGES:
        pytest.importorskip(PACKAGES[language])
    lines = [line for line in BLEU if line["language"] == language]
    assert len(lines) == 15
    for line in lines:
        for said in (language, None):  # the script of the references tells the language too
            metric = bleu_metric(line["references"], said)
            assert metric.corpus_score(line["hypotheses"], [line["references"]]).score == pytest.approx(
                line["bleu"], abs=1e-9
            )
            assert str(metric.get_signature()).split("version")[0] == line["signature"].split("version")[0]
    scores = bleu_scores(lines[0]["hypotheses"], lines[0]["references"], language)
    assert scores["bleu"] == pytest.approx(lines[0]["bleu"], abs=1e-9)
    low, high = scores["bleu_interval"]
    assert low <= scores["bleu"] <= high


@pytest.mark.parametrize(
    ("references", "language", "tokenizer"),
    [
        (["東港の灯台"], "zh", "zh"),  # what is said counts more than the script
        (["สวัสดี"], None, "char"),
        (["Der Hund."], "de", "13a"),
        (["東港"], "yue", "zh"),  # a language without a tokenizer of its own
        (["A dog, 東港."], None, "13a"),
        (["1820"], None, "13a"),
    ],
)
def test_bleus_tokenizer(references: list[str], language: str | None, tokenizer: str) -> None:
    scores = bleu_scores(references, references, language)
    assert f"tok:{tokenizer}|" in scores["bleu_signature"]


@pytest.mark.parametrize(("language", "extra"), [("ja", "japanese"), ("ko", "korean")])
def test_a_missing_tokenizer_is_named_before_training(
    language: str, extra: str, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"sacrebleu.tokenizers.tokenizer_{language}_mecab.MeCab", None)
    row = {"id": "0", "translation": {"en": "A dog.", language: "x"}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    files = ["data.train=rows.jsonl", "data.validation=rows.jsonl", f"data.target_column={language}"]
    code, _, err = llmkit("finetune", "--task", "translation", *files, "model.pretrained=nothing/here")
    assert code == 1
    assert "whose packages are not installed" in err
    assert f"Install it: pip install 'llmkit[{extra}]'" in err
    assert "nothing/here" not in err, "the model is not looked for yet"
    # A summary is not scored by BLEU.
    examples = Dataset.from_list([{"target": "x"}])
    TASKS["summarization"].check_scores(examples, TextData(path="x", target_language=language))


ALIKE = {
    "zh": ("东港灯塔大火后重新点亮", "东港灯塔大火后再点亮"),
    "ja": ("猫は家で眠っています。", "猫は外で眠っています。"),
    "hi": ("मेले में तीन सौ किताबें बिकीं", "मेले में सौ किताबें बिकीं"),
    "ru": ("Маяк снова горит после пожара", "маяк горит после пожара"),
    "de": ("Die Häuser über dem Fluß", "Die Häuser über dem Fluss"),
    "el": ("Ο φάρος ανάβει ξανά", "ο φάρος ανάβει"),
    "th": ("ประภาคารกลับมาสว่าง", "ประภาคารสว่าง"),
    "ar": ("عادت المنارة إلى العمل", "عادت المنارة"),
}


@pytest.mark.parametrize("language", ALIKE)
def test_rouge_of_other_languages(language: str) -> None:
    text, other = ALIKE[language]
    same, tokenizer = rouge([text], [text])
    assert tokenizer == "Unicode words, not stemmed"
    assert [same[name][0] for name in ROUGE] == pytest.approx([1.0] * 4)
    near, _ = rouge([other], [text])
    assert 0.4 < near["rouge1"][0] < 1.0
    assert rouge(["zzz"], [text])[0]["rougeL"] == [0.0]
    assert rouge([text], [text], language)[1] == "Unicode words, not stemmed"


def test_rouge_counts_characters_where_no_spaces_are() -> None:
    found, _ = rouge(["东港的灯塔\n亮了"], ["东港灯塔\n亮了"])
    assert found["rouge1"] == pytest.approx([2 * 6 / 13])
    assert found["rougeLsum"] == pytest.approx([2 * 6 / 13]), "each line is a sentence, in every language"


def test_rouge_of_english_stays_rouge_scores_own() -> None:
    """Also with a few letters that English borrows, in the references, and with any letters in the texts."""
    references = [
        "She sailed to São Paulo.",
        "He said it was naive.",
        "Fires burned; 3,000 people fled — “all of them”.",
    ]
    texts = ["Sailed to Sao Paulo", "He says it is naïve", "A fire burns and 3000 flee"]
    more = ["The ships sailed home in the evening, all of them, to eat and to sleep."] * 2
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    own = [scorer.score(reference, text) for reference, text in zip(references, texts, strict=True)]
    for said in (None, "en"):
        found, _ = rouge([*texts, "", "东港"], [*references, *more], said)
        for name in ROUGE:
            assert found[name] == [*(one[name].fmeasure for one in own), 0.0, 0.0]
    assert rouge(["Il a été."], ["Il a été."], "en")[1].startswith("rouge-score"), "what is said counts"
    assert rouge(texts, references, "fr")[1] == "Unicode words, not stemmed"


@pytest.mark.parametrize(
    ("options", "language"),
    [
        ({}, None),
        ({"target_column": "zh"}, "zh"),
        ({"target_column": "zh_CN"}, "zh"),
        ({"target_column": "jpn_Jpan"}, "ja"),
        ({"target_column": "summary"}, None),
        ({"target_column": "zh", "target_language": "JA"}, "ja"),
    ],
)
def test_the_language_of_targets(options: dict[str, str], language: str | None) -> None:
    assert TextData(path="x", **options).language_of_targets == language


def test_how_texts_were_cut_is_printed(llmkit: Command, tmp_path: Path) -> None:
    rows = [{"id": str(n), "document": "a", "summary": text} for n, (text, _) in enumerate(ALIKE.values())]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "found.json").write_text(json.dumps({row["id"]: row["summary"] for row in rows}))
    scored = ["eval", "--predictions", "found.json", "--data", "rows.jsonl", "--task", "summarization"]
    code, out, err = llmkit(*scored)
    assert code == 0, err
    assert "Unicode words, not stemmed" in out
    scores = json.loads(llmkit(*scored, "--json")[1])
    assert (scores["rougeL"], scores["rouge_tokenizer"]) == (pytest.approx(100.0), "Unicode words, not stemmed")
