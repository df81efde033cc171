"""What the Hub's library downloads is our progress, and its own bars are as before afterwards."""

from __future__ import annotations

import re

import pytest
from huggingface_hub.utils import disable_progress_bars, tqdm

from llmkit.system import progress
from llmkit.system.hub_downloads import showing_downloads

pytestmark = pytest.mark.oldest

SHARD = "(…)jane/base/resolve/main/model-00001.safetensors"


def test_files_are_one_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    disable_progress_bars()
    before = [tqdm.__init__, tqdm.update, tqdm.close]
    with showing_downloads(), showing_downloads():
        with tqdm(desc=SHARD, total=4e6, initial=1e6, unit="B", name="huggingface_hub.http_get") as first:
            first.update(1e6)
            with tqdm(desc="b.bin: downloading bytes", total=1e6, unit="B") as network:
                network.update(5e5)
            with tqdm(desc="b.bin: reconstructing file", total=4e6, unit="B") as second:
                second.update(2e6)
                first.update(2e6)
                second.update(2e6)
        with tqdm(desc="Fetching 3 files", total=3) as files:
            files.update(1)
        with tqdm(desc="c.bin", unit="B") as unknown:
            unknown.update(3e6)
    lines = [re.sub(r"  [\d,.]+ MB/s(  left .*)?$", "", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "downloading  model-00001.safetensors 2.0 of 4.0 MB",
        "downloading  2 files 4.0 of 8.0 MB",
        "downloading  2 files 6.0 of 8.0 MB",
        "downloading  2 files 8.0 of 8.0 MB",
        "downloading  c.bin 3.0 MB",
    ]
    assert [tqdm.__init__, tqdm.update, tqdm.close] == before
