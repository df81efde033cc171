"""The page in a browser: typed into, read, and without a word on the console."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import quick_or_slow
from support.browser import CHROMIUM, Page, browser
from support.served import client, made_up, running

from llmkit.serving.predicting import Subject
from llmkit.serving.reasons import Reasons
from llmkit.tasks.columns import Columns
from llmkit.tasks.values import Candidate, Mention, Prediction

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

PASSAGE = "Ambury 🚢 lies by the sea.\nIt was founded by Tom Reed in 1820."
SEEN = os.environ.get("LLMKIT_SCREENSHOTS")  # a folder for pictures to look at


def spans(examples: Columns) -> list[Prediction]:
    """Finds Tom Reed, or nothing."""
    found = []
    for context in examples["context"]:
        start = context.find("Tom Reed")
        best = tuple(
            Candidate(context[a:b], a, b, 5.0 - a / 100, share)
            for a, b, share in ((start, start + 8, 0.83), (start + 4, start + 8, 0.1), (start + 12, start + 16, 0.05))
        )
        top = best[0]
        abstains = start < 0
        found.append(
            Prediction("0", "", 0.9, null_score=2.0)
            if abstains
            else Prediction("0", top.text, 0.83, start, start + 8, -2.0, best)
        )
    return found


def why(example: Any) -> dict[str, Any]:
    """Founded, and not 1820."""
    places = [(0, "Who", 0.2), (0, "founded", 2.5), (1, "founded", 4.0), (1, "Tom", 1.5), (1, "1820", -1.25)]
    texts = [example["question"], example["context"]]
    words = [
        {"text": n, "start": texts[n].index(word), "end": texts[n].index(word) + len(word), "weight": weight}
        for n, word, weight in places
    ]
    named = [{"name": name, "text": text} for name, text in zip(("question", "passage"), texts, strict=True)]
    return {"answer": "Tom Reed", "explained": "the logits of the answer", "texts": named, "words": words, "error": 0.0}


def labels(names: Sequence[str], given: str) -> Any:
    shares = [0.82, 0.15, 0.03]
    best = tuple(Candidate(name, None, None, 1.0, share) for name, share in zip(names, shares, strict=True))
    return lambda examples: [Prediction("0", given, 0.82, candidates=best) for _ in examples["text"]]


def tags(examples: Columns) -> list[Prediction]:
    entities = (Mention("PER", "Tom Reed", 0, 8, 0, 2, 0.97), Mention("LOC", "Ambury", 17, 23, 3, 4, 0.88))
    text, its = "B-PER I-PER O B-LOC O", [{tag: 0.9} for tag in ("B-PER", "I-PER", "O", "B-LOC", "O")]
    return [Prediction("0", text, 0.95, entities=entities, tags=tuple(its)) for _ in examples["tokens"]]


SUBJECTS: dict[str, tuple[Subject, dict[str, str], list[str]]] = {
    "span": (
        made_up(spans, "squad_v2", Reasons(why)),
        {"question": "Who founded Ambury?", "context": PASSAGE},
        ["Tom Reed", "83 %", "line 2"],
    ),
    "labels": (
        made_up(labels(("positive", "neutral", "negative"), "positive"), "classification"),
        {"text": "A fine ship."},
        ["positive", "82 %", "negative"],
    ),
    "multilabel": (
        made_up(labels(("calm", "sea", "land"), "calm|sea"), "multilabel"),
        {"text": "A fine ship."},
        ["calm, sea", "land"],
    ),
    "pair": (
        made_up(labels(("entailment", "neutral", "contradiction"), "entailment"), "glue/mnli"),
        {"text": "A ship sails.", "pair": "A ship moves."},
        ["entailment"],
    ),
    "number": (
        made_up(lambda examples: [Prediction("0", "4.25", 1.0) for _ in examples["text"]], "regression"),
        {"text": "A fine ship."},
        ["4.25"],
    ),
    "tags": (made_up(tags, "ner"), {"text": "Tom Reed founded Ambury."}, ["Tom Reed", "PER", "LOC 1"]),
    "text": (
        made_up(lambda examples: [Prediction("0", "Ein Hund.", 0.7) for _ in examples["source"]], "translation"),
        {"source": "A dog."},
        ["A dog.", "Ein Hund.", "70 %"],
    ),
}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def shown(page: Page) -> str:
    return str(page.value('document.getElementById("answer").innerText'))


def look(page: Page, name: str) -> None:
    if SEEN:
        page.screenshot(Path(SEEN) / f"{name}.png")


def ask(page: Page, sent: dict[str, str]) -> None:
    """Type into each field in the order in which Tab goes through them, and press Ctrl+Enter."""
    for number, text in enumerate(sent.values()):
        if number:
            page.press("Tab", 9)
        page.type(text)
    page.press("Enter", 13, control=True)
    page.wait_for('!document.getElementById("answer").hidden')


@pytest.mark.parametrize("kind", quick_or_slow(SUBJECTS, ("span", "labels", "tags", "text")))
def test_typing_and_reading_the_answer(kind: str, chromium: Page) -> None:
    subject, sent, expected = SUBJECTS[kind]
    chromium.problems.clear()
    with running(subject) as address:
        for width, dark in ((1280, False), (400, True)):
            chromium.open(address, width=width, dark=dark)
            chromium.wait_for("document.activeElement.matches('#fields *')")
            ask(chromium, sent)
            text = shown(chromium)
            assert [part for part in expected if part not in text] == []
            said = chromium.value('document.getElementById("status").innerText')
            assert expected[0] in said or expected[1] in said
            assert chromium.value("document.documentElement.scrollWidth") <= width
            # Every field has a label, and every button a name.
            assert chromium.value("[...document.querySelectorAll('#fields *')].every(e => !e.name || e.labels.length)")
            assert chromium.value("[...document.querySelectorAll('button')].every(e => e.innerText.trim() || e.hidden)")
            look(chromium, f"{kind}-{width}-{'dark' if dark else 'light'}")
    assert chromium.problems == []


def test_the_answer_is_marked_in_its_place_and_explained(chromium: Page) -> None:
    subject, sent, _ = SUBJECTS["span"]
    chromium.problems.clear()
    with running(subject) as address:
        for width, dark in ((1280, False), (400, True), (1280, True)):
            chromium.open(address, width=width, dark=dark)
            chromium.wait_for("document.activeElement.name === 'question'")
            ask(chromium, sent)
            assert chromium.value("document.querySelector('mark').innerText") == "Tom Reed"
            assert chromium.value("document.querySelector('#shown .text').textContent") == PASSAGE
            # Another candidate is marked when it is chosen; one that overlaps a better one is left out.
            chromium.value("document.querySelectorAll('#shown button')[1].click()")
            assert chromium.value("document.querySelector('mark').innerText") == "1820"
            assert chromium.value("document.querySelectorAll('#shown button').length") == 2
            chromium.value("document.getElementById('explain').click()")
            chromium.wait_for("!!document.querySelector('#reasons table')")
            weights = chromium.value("[...document.querySelectorAll('#reasons tbody tr')].map(e => e.innerText)")
            assert weights[0].split("\t") == ["founded", "passage", "+4.00"]
            assert chromium.value("document.querySelector('#reasons .against').innerText") == "1820"
            assert chromium.value("document.documentElement.scrollWidth") <= width
            look(chromium, f"why-{width}-{'dark' if dark else 'light'}")
        chromium.open(address, width=1280, dark=False)
        chromium.wait_for("document.activeElement.name === 'question'")
        ask(chromium, {"question": "Who?", "context": "Nobody <b>is</b> here."})
        assert "No answer in the passage" in shown(chromium)
        assert chromium.value("document.querySelector('#shown .text').textContent") == "Nobody <b>is</b> here."
    assert chromium.problems == []


DROP = """(name, bytes) => {
  const area = document.querySelector("textarea"), data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name));
  for (const kind of ["dragover", "drop"])
    area.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def test_a_file_is_dropped_on_the_text(chromium: Page) -> None:
    subject, _, _ = SUBJECTS["span"]
    chromium.problems.clear()
    with running(subject) as address:
        chromium.open(address, width=1280, dark=False)
        chromium.wait_for("!!document.querySelector('textarea')")
        chromium.value(f"({DROP})('notes.txt', {json.dumps(list(PASSAGE.encode()))})")
        chromium.wait_for("document.querySelector('textarea').value")
        assert chromium.value("document.querySelector('textarea').value") == PASSAGE
        chromium.value(f"({DROP})('picture.png', [137, 80, 78, 71, 255])")
        assert "no text in UTF-8" in chromium.wait_for("document.querySelector('#status.bad')?.innerText")
        assert chromium.value("document.querySelector('textarea').value") == PASSAGE
    assert chromium.problems == []


def test_a_refusal_is_read_out(chromium: Page) -> None:
    subject, _, _ = SUBJECTS["labels"]
    with running(subject) as address:
        chromium.open(address, width=400, dark=False)
        chromium.wait_for("document.activeElement.matches('#fields *')")
        chromium.type(" ")
        chromium.press("Enter", 13, control=True)
        told = chromium.wait_for("document.querySelector('#status.bad')?.innerText")
        look(chromium, "refused-400-light")
    assert "'text' is empty" in told
    assert chromium.value("document.getElementById('status').getAttribute('role')") == "status"
    chromium.problems.clear()  # the browser reports a status of 422


def test_the_token_is_asked_for(chromium: Page) -> None:
    subject, _, _ = SUBJECTS["labels"]
    with running(subject, token="secret") as address:
        chromium.open(address, width=400, dark=True)
        chromium.wait_for("document.activeElement.id === 'token'")
        look(chromium, "token-400-dark")
        chromium.type("wrong")
        chromium.press("Enter", 13)
        assert "wrong one" in chromium.wait_for("document.querySelector('#status.bad')?.innerText")
        chromium.value("document.getElementById('token').value = ''")
        chromium.value("document.getElementById('token').focus()")
        chromium.type("secret")
        chromium.press("Enter", 13)
        chromium.wait_for("document.activeElement.matches('#fields *')")
        ask(chromium, {"text": "A fine ship."})
        assert "positive" in shown(chromium)
    chromium.problems.clear()  # the browser reports a status of 401


@pytest.mark.parametrize("kind", quick_or_slow(("span", "tags"), ("span",)))
def test_the_page_on_how_to_ask(kind: str, chromium: Page) -> None:
    subject, _, _ = SUBJECTS[kind]
    chromium.problems.clear()
    with running(subject) as address:
        for width, dark in ((1280, False), (400, True)):
            chromium.open(f"{address}/docs", width=width, dark=dark)
            text = chromium.wait_for("document.querySelector('h2') && document.body.innerText")
            assert "POST /predict/batch" in text
            assert f"curl {address}/predict" in text
            assert chromium.value("document.documentElement.scrollWidth") <= width
            look(chromium, f"docs-{kind}-{width}-{'dark' if dark else 'light'}")
    assert [each for each in chromium.problems if "loads" not in each] == []


def test_how_to_ask_with_a_token(chromium: Page) -> None:
    subject, _, _ = SUBJECTS["span"]
    with running(subject, token="secret") as address:
        chromium.open(f"{address}/docs", width=1280, dark=False)
        chromium.wait_for("!!document.querySelector('pre')")
        commands = chromium.value("[...document.querySelectorAll('pre')].map(each => each.innerText)")
    header = '\\\n  -H "Authorization: Bearer TOKEN"'
    assert all(header in each for each in commands if "/health" not in each)
    assert f"curl {address}/health" in commands


def test_its_example_is_a_request(chromium: Page) -> None:
    subject, _, _ = SUBJECTS["span"]
    with running(subject) as address:
        chromium.open(f"{address}/docs", width=1280, dark=False)
        command = chromium.wait_for("document.querySelector('pre')?.innerText")
    body = command.split("-d '", 1)[1].removesuffix("'")
    with client(subject) as server:
        assert server.post("/predict", json=json.loads(body)).status_code == 200
