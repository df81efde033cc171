"""10,000 requests to `llmkit serve`, 200 of them garbage: is every good one answered as `llmkit ask` answers?

    python benchmarks/serve_load.py --model MODEL --data validation.json

Garbage must get no status of 5xx. Memory is read once a tenth of the requests is answered, and at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from clients import ask_all, request, serving
from side_by_side import machine, sample

from llmkit.commands.ask import Questioner, _reader
from llmkit.system.progress import Course

CLIENTS = 64
CLOSE = 1e-4  # of a probability: sums of other batches round otherwise


def garbage(draw: random.Random) -> bytes:
    """A request that no client should send."""
    good = json.dumps({"question": "Who?", "context": "Ann left."}).encode()
    noise = draw.randbytes(draw.randrange(1, 400))
    nested = b"[" * draw.randrange(10, 100_000)
    values: list[Any] = [None, 3, True, [], {}, "", " ", "\n", "\ud800", {"question": "Who?"}, [[1]], 1e308]
    body = json.dumps({"question": draw.choice(values), "context": draw.choice([*values, "Ann left."])}).encode()
    kinds = [
        lambda: request(noise),
        lambda: request(nested),
        lambda: request(good[: draw.randrange(len(good))]),
        lambda: request(body),
        lambda: request(json.dumps(draw.choice(values)).encode()),
        lambda: request(json.dumps({"question": "why " * 3000, "context": "Ann left."}).encode()),
        lambda: request(json.dumps({"question": "Who?", "context": "x" * 300_000}).encode()),
        lambda: request(b" " * 2_000_000),
        lambda: request(b'{"question": ' + b"9" * 9000 + b"}"),
        lambda: request(good, path="/" + noise.hex()),
        lambda: request(good, method=draw.choice(["PUT", "DELETE", "PATCH", "BREW"])),
        lambda: request(good, headers={"Content-Type": "text/plain"}),
        lambda: request(good, headers={"Host": "elsewhere.example"}),
        lambda: request(json.dumps({"inputs": [{}] * draw.randrange(400)}).encode(), path="/predict/batch"),
        lambda: b"\x16\x03\x01" + noise + b"\r\n\r\n",
        lambda: b"GET / HTTP/9.9\r\n\r\n",
        lambda: b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ]
    return draw.choice(kinds)()


def expected(model: str, asked: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What `llmkit ask` answers to each question."""
    reader = _reader(model)
    found = []
    for question, passage in asked:
        with Course("asking", len(passage), "characters") as course:
            (prediction,) = Questioner(reader, question)([passage], course)
        found.append(prediction.as_row())
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--requests", type=int, default=10_000)
    options.add_argument("--garbage", type=int, default=200)
    options.add_argument("--different", type=int, default=1000, help="different questions among them")
    given = options.parse_args()
    draw = random.Random(0)
    articles = json.loads(given.data.read_text(encoding="utf-8"))["data"]
    rows = [(qa["question"], each["context"]) for a in articles for each in a["paragraphs"] for qa in each["qas"]]
    asked = sample(rows, given.different)
    bad = set(draw.sample(range(given.requests), given.garbage))
    owners = [None if number in bad else draw.randrange(len(asked)) for number in range(given.requests)]
    requests = [
        garbage(draw)
        if owner is None
        else request(json.dumps({"question": asked[owner][0], "context": asked[owner][1]}).encode())
        for owner in owners
    ]
    answers = expected(given.model, asked)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(given.model, "--max-waiting", "128", log=Path(folder) / "log.txt") as server,
    ):
        first = given.requests // 10
        began = time.perf_counter()
        replies, _ = ask_all(server.port, requests[:first], CLIENTS)
        before = server.memory
        replies += ask_all(server.port, requests[first:], CLIENTS)[0]
        seconds, after = time.perf_counter() - began, server.memory
        status = server.stop()
    refused: Counter[int] = Counter()
    wrong, apart = [], 0.0
    for number, (owner, reply) in enumerate(zip(owners, replies, strict=True)):
        if owner is None:
            refused[reply.status] += 1
            continue
        found, wanted = (json.loads(reply.body) if reply.status == 200 else {}), answers[owner]
        same = all(found.get(name) == wanted[name] for name in ("text", "start", "end"))
        if same:
            apart = max(apart, abs(found["score"] - wanted["score"]))
        else:
            wrong.append((number, reply.status, found.get("text"), wanted["text"]))
    print(f"{len(replies):,} requests in {seconds:.0f} s, of {CLIENTS} clients at once")
    print(f"good ones: {len(replies) - len(bad):,}, answered otherwise than by ask: {len(wrong)} {wrong[:3]}")
    print(f"largest difference of a score: {apart:.1g} ({'within' if apart <= CLOSE else 'above'} {CLOSE:g})")
    print(f"garbage: {len(bad)}, by status: {dict(sorted(refused.items()))}; 0 is a connection closed without one")
    print(f"memory: {before:.0f} MB after {first:,} requests, {after:.0f} MB after all; exit status {status}")
    print(machine())


if __name__ == "__main__":
    main()
