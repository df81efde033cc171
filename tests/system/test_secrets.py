"""What is hidden before a recipe or a command line goes to a server."""

from __future__ import annotations

import pytest

from llmkit.system.secrets import without_secrets

pytestmark = pytest.mark.oldest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://jane:s3cret@host/a.txt", "https://host/a.txt"),
        ("HF_TOKEN=hf_abcdefghijkl", "HF_TOKEN=[hidden]"),
        (
            "https://b.s3/x?X-Amz-Signature=ab12&X-Amz-Date=2026&token=t",
            "https://b.s3/x?X-Amz-Signature=[hidden]&X-Amz-Date=2026&token=[hidden]",
        ),
        (
            "corpus.path=/home/jane/data model.pretrained=jane/bert",
            "corpus.path=/home/jane/data model.pretrained=jane/bert",
        ),
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
