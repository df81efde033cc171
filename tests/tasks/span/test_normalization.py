"""Answers in other languages are scored as MLQA's official script scores them, and sensibly where it knows no rule."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import recorded

from llmkit.recipes.reading import recipe_from
from llmkit.tasks import TASKS
from llmkit.tasks.span.normalization import normalizer
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.span.text_overlap import exact_match, f1
from llmkit.tasks.values import Candidate, Prediction

PAIRS: list[Any] = recorded("official_mlqa_scores.jsonl.gz")
OUTPUTS: dict[str, Any] = recorded("official_mlqa_aggregates.json.gz")


def pairs_in(language: str) -> list[tuple[str, list[str], list[float]]]:
    return [(text, golds, scores) for found, text, golds, scores in PAIRS if found == language]


@pytest.mark.parametrize("language", OUTPUTS)
def test_scores_equal_mlqas_script(language: str) -> None:
    pairs = pairs_in(language)
    assert len(pairs) == 800
    assert sum(0 < f1 < 1 for _, _, (_, f1) in pairs) > 100, "the recorded pairs differ in parts"
    normalize = normalizer(language)
    for text, golds, scores in pairs:
        ours = [exact_match(text, golds, normalize), f1(text, golds, normalize)]
        assert ours == pytest.approx(scores, abs=1e-9), (text, golds)


@pytest.mark.parametrize("language", OUTPUTS)
def test_a_tasks_scores_equal_mlqas_script(language: str) -> None:
    rows, predictions = [], []
    for number, (text, golds, _) in enumerate(pairs_in(language)):
        rows.append({"id": f"q{number}", "context": f"passage {number // 4}", "answers": {"text": golds}})
        if number % 17:
            predictions.append(Prediction(f"q{number}", text, 1.0))
    examples = Dataset.from_list(rows)
    by_name = TASKS["mlqa"].score(predictions, examples, SpanData(path="x", name=f"mlqa.{language}.en"))
    assert {name: by_name[name] for name in OUTPUTS[language]} == pytest.approx(OUTPUTS[language], abs=1e-9)
    assert by_name["normalization"] == f"MLQA, {language}"
    low, high = by_name["f1_interval"]
    assert low < by_name["f1"] < high
    if language != "en":  # where SQuAD's own script removes less punctuation
        assert TASKS["squad"].score(predictions, examples, SpanData(path="x", language=language)) == by_name


def test_questions_without_an_answer_in_another_language() -> None:
    """Abstaining is right, and the tuned threshold is found by the language's own scores."""
    golds = [["东港的灯塔"], [], ["“灯塔”"], []] * 20
    rows = [
        {"id": str(n), "context": f"p{n // 2}", "answers": {"text": gold}, "annotations": []}
        for n, gold in enumerate(golds)
    ]
    found = []
    for n, gold in enumerate(golds):
        best = Candidate("东港灯塔", 0, 4, 1.0, 1.0)
        found.append(
            Prediction(str(n), best.text if gold else "", 1.0, null_score=-1.0 if gold else 1.0, candidates=(best,))
        )
    scores = TASKS["squad_v2"].score(found, Dataset.from_list(rows), SpanData(path="x", language="zh"))
    f1 = {"东港的灯塔": 2 * 4 / 9, "“灯塔”": 2 * 2 / 6}
    assert scores["HasAns_f1"] == pytest.approx(100 * sum(f1.values()) / 2)
    assert (scores["NoAns_f1"], scores["normalization"]) == (100.0, "MLQA, zh")
    assert scores["tuned"]["reported_on"]["f1"] > 80.0


def test_english_is_squads_own_script_but_for_mlqa() -> None:
    examples = Dataset.from_list([{"id": "q", "context": "c", "answers": {"text": ["“the” ship"]}}])
    found = [Prediction("q", "ship", 1.0)]
    for data in (SpanData(path="x"), SpanData(path="x", language="en"), SpanData(path="x", name="xquad.en")):
        scores = TASKS["xquad"].score(found, examples, data)
        assert scores["exact_match"] == 0.0
        assert "normalization" not in scores
    assert TASKS["mlqa"].score(found, examples, SpanData(path="x"))["exact_match"] == 100.0


@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        ("ja", "「東京タワー」へ", "東 京 タ ワ ー へ"),
        ("th", "กรุงเทพฯ 2023", "ก รุ ง เ ท พ ฯ 2023"),
        ("ru", "«Маяк», 1820 г.", "маяк 1820 г"),
        ("fr", "L’École, la mer", "lécole la mer"),  # no articles are known
        ("el", "Ο ΦΆΡΟΣ;", "ο φάρος"),
        ("ko", "동항의 등대.", "동항의 등대"),
    ],
)
def test_languages_that_mlqa_does_not_have(language: str, text: str, normalized: str) -> None:
    assert normalizer(language)(text) == normalized


@settings(deadline=None, database=None)
@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["ja", "th", "ru", "zh", "vi", "ar"]))
def test_what_holds_for_any_text(text: str, other: str, language: str) -> None:
    normalize = normalizer(language)
    words = normalize(text).split()
    assert normalize(text) == " ".join(words)
    assert exact_match(text, [text], normalize) == 1.0
    assert f1(text, [text], normalize) == (1.0 if words else 0.0)
    assert exact_match(text, [other], normalize) <= f1(text, [other], normalize) or not words


@pytest.mark.parametrize(
    ("options", "language"),
    [
        ({}, None),
        ({"language": "zh-Hant"}, "zh"),
        ({"language": "zho_Hans"}, "zh"),
        ({"name": "xquad.th"}, "th"),
        ({"name": "mlqa.zh.en"}, "zh"),  # the passage is Chinese, the question English
        ({"name": "mlqa-translate-train.de"}, "de"),
        ({"name": "mlqa-translate-test.de"}, None),  # translated to English
        ({"name": "plain_text", "language": "de"}, "de"),
        ({"name": "xquad.de", "language": "zh"}, "de"),  # a run on Chinese, scored on German
    ],
)
def test_the_language_of_answers(options: dict[str, str], language: str | None) -> None:
    assert SpanData(path="x", **options).answer_language == language


def test_a_language_is_a_code() -> None:
    with pytest.raises(Exception, match="'Chinese' is not a language code; give one such as en, de or zh"):
        recipe_from(SpanData, {"path": "x"}, ["language=Chinese"])


def test_answers_in_another_script_are_not_scored_as_english_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    examples = Dataset.from_list([{"answers": {"text": ["东港的灯塔", "灯塔"]}}, {"answers": {"text": ["Ambury"]}}])
    TASKS["squad"].check_scores(examples, SpanData(path="x"))
    assert "data.language=zh" in capsys.readouterr().err
    TASKS["squad"].check_scores(examples, SpanData(path="x", language="zh"))
    TASKS["squad"].check_scores(examples.select([1]), SpanData(path="x"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("answers", "options", "told"),
    [
        (["东港的灯塔"], {}, "English, and English scores split words only at spaces; set data.language=zh"),
        (
            ["عادت المنارة"],
            {},
            "English, whose articles and punctuation English scores do not know; set data.language=ar",
        ),
        (["मेले में"], {"language": "en"}, "set data.language=hi"),
        (["the lamp"], {"language": "zh"}, "data.language=zh, and are scored as zh; set data.language=en"),
        (["서울"], {"language": "de"}, "data.language=de, and are scored as de; set data.language=ko"),
        (["東京"], {"language": "ja"}, None),  # no kana
        (["the lamp"], {"language": "de"}, None),  # few words of German have an umlaut
        (["1820", "12.5"], {"language": "zh"}, None),
        (["the lamp"], {"name": "xquad.zh"}, None),  # the configuration's name cannot be overridden
    ],
)
def test_answers_of_another_language(
    answers: list[str], options: dict[str, str], told: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    TASKS["squad"].check_scores(Dataset.from_list([{"answers": {"text": answers}}]), SpanData(path="x", **options))
    err = " ".join(capsys.readouterr().err.split())
    assert (told in err) if told is not None else err == ""
