"""CrowS-Pairs and StereoSet: the scores of the original scripts, from files and from the Hub."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from support.stereotypes import cloze_rows, pair_rows, small_masked_lm, write_stereotypes
from support.tasks import letters

from llmkit.evidence.audit.pseudo_likelihood import Masked, log_probabilities
from llmkit.evidence.audit.stereotype_data import crows_pairs, stereoset
from llmkit.evidence.audit.stereotype_scores import pair_scores, word_scores
from llmkit.evidence.audit.stereotypes import stereotypes
from llmkit.system.errors import UserError

OFFICIAL = json.loads((Path(__file__).parents[2] / "data" / "official_stereotype_scores.json").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_stereotypes(tmp_path_factory.mktemp("stereotypes"))


@pytest.mark.oldest
def test_sentences_are_as_likely_as_in_the_original_script(files: tuple[Path, Path]) -> None:
    found = pair_scores(small_masked_lm(), letters(), crows_pairs(files[0]), None)
    for ours, theirs in zip(found, OFFICIAL["pairs"], strict=True):
        assert ours == pytest.approx(theirs, abs=5e-3)


@pytest.mark.oldest
def test_words_score_as_in_the_original_script(files: tuple[Path, Path]) -> None:
    found = word_scores(small_masked_lm(), letters(), stereoset(files[1]), None)
    ours = {f"{number}-{label}": score for number, its in enumerate(found) if its for label, score in its.items()}
    assert ours == pytest.approx(OFFICIAL["words"], rel=1e-3)


def test_both_scores(files: tuple[Path, Path]) -> None:
    pairs, clozes = crows_pairs(files[0]), stereoset(files[1])
    found = stereotypes(small_masked_lm(), letters(), pairs, clozes, 64)
    preferred = [round(more, 3) > round(less, 3) for more, less in OFFICIAL["pairs"]]
    every = found.crows_pairs[0]
    assert (every.bias, every.pairs, every.score) == ("all", 20, 100 * sum(preferred) / 20)
    against = [pair.against for pair in pairs]
    its = [is_preferred for is_preferred, opposes in zip(preferred, against, strict=True) if opposes]
    assert every.against == pytest.approx(100 * sum(its) / len(its))
    assert every.interval is not None
    assert every.interval[0] < every.score < every.interval[1]
    assert {each.bias for each in found.crows_pairs[1:]} == {"height", "home", "age", "hand"}
    for each in found.stereoset:
        official = OFFICIAL["results"]["overall" if each.bias == "all" else each.bias]
        scores = {"LM Score": each.lms, "SS Score": each.ss, "ICAT Score": each.icat}
        assert scores == pytest.approx({name: official[name] for name in scores})
        assert each.lms_interval is not None
    assert 0 < found.stereoset[0].ss < 100
    assert found.skipped == 0
    crows, associations = found.tables()
    assert crows.rows[0][:3] == ["all", "20", f"{every.score:.2f}"]
    assert len(crows.rows[0]) == len(crows.columns)
    assert len(associations.rows[0]) == len(associations.columns)
    assert json.loads(json.dumps(found.as_row()))["crows_pairs"][0]["bias"] == "all"
    assert list(found.shown()) == []


def test_what_a_model_cannot_read_is_left_out(files: tuple[Path, Path]) -> None:
    found = stereotypes(small_masked_lm(), letters(), crows_pairs(files[0]), stereoset(files[1]), 24)
    assert 0 < found.crows_pairs[0].pairs < 20
    assert found.skipped > 0
    assert "left out" in found.notes()[-1]
    nothing = stereotypes(small_masked_lm(), letters(), crows_pairs(files[0]), [], 3)
    assert (nothing.crows_pairs, nothing.stereoset, nothing.skipped) == ((), (), 20)


def test_batches_change_nothing() -> None:
    """Sentences of different lengths, together and alone."""
    model, tokenizer = small_masked_lm(), letters()
    masked = []
    for text in ("sail", "a longer line", "x", "the longest line of all"):
        ids = tokenizer(text)["input_ids"]
        masked.append(Masked((*ids[:1], tokenizer.mask_token_id, *ids[2:]), 1, ids[1]))
    together = log_probabilities(model, tokenizer, masked)
    alone = [log_probabilities(model, tokenizer, [each])[0] for each in masked]
    assert together == pytest.approx(alone, abs=1e-4)


def test_forms_of_files(tmp_path: Path, files: tuple[Path, Path]) -> None:
    rows, clozes = pair_rows(), cloze_rows()
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert crows_pairs(tmp_path / "pairs.jsonl") == crows_pairs(tmp_path / "pairs.csv") == crows_pairs(files[0])
    numbers = {"anti-stereotype": 0, "stereotype": 1, "unrelated": 2}
    for name, code in (("names", str), ("numbers", numbers.get)):
        lines = [
            {
                **row,
                "sentences": {
                    "sentence": [each["sentence"] for each in row["sentences"]],
                    "gold_label": [code(each["gold_label"]) for each in row["sentences"]],
                },
            }
            for row in clozes
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        assert stereoset(tmp_path / f"{name}.jsonl") == stereoset(files[1])


@pytest.mark.parametrize(
    ("row", "read"),
    [
        ({"sent_more": "a", "sent_less": "b", "stereo_antistereo": "both", "bias_type": "age"}, crows_pairs),
        ({"sent_more": "a", "bias_type": "age"}, crows_pairs),
        ({**cloze_rows()[0], "context": "no place for a word"}, stereoset),
        ({**cloze_rows()[0], "sentences": cloze_rows()[0]["sentences"][:2]}, stereoset),
        ({**cloze_rows()[0], "sentences": None}, stereoset),
    ],
)
def test_rows_of_another_form_are_named(tmp_path: Path, row: dict[str, Any], read: Any) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"rows\.jsonl:1: not a row of (CrowS-Pairs|StereoSet)"):
        read(file)
