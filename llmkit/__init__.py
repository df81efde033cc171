"""Train and use BERT-class models.

The commands are functions: curate, tokenize, pretrain, finetune, search, bench, evaluate, compare, audit, predict,
ask, embed, explain, report and export. Run is a finished training run. See docs/python.md. Each name is imported when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmkit.system.threads import fit_threads

if TYPE_CHECKING:
    from llmkit.api import Run as Run
    from llmkit.api import ask as ask
    from llmkit.api import audit as audit
    from llmkit.api import bench as bench
    from llmkit.api import compare as compare
    from llmkit.api import curate as curate
    from llmkit.api import embed as embed
    from llmkit.api import evaluate as evaluate
    from llmkit.api import explain as explain
    from llmkit.api import export as export
    from llmkit.api import finetune as finetune
    from llmkit.api import predict as predict
    from llmkit.api import pretrain as pretrain
    from llmkit.api import report as report
    from llmkit.api import search as search
    from llmkit.api import tokenize as tokenize
    from llmkit.system.errors import Stopped as Stopped
    from llmkit.system.errors import UserError as UserError

__version__ = "0.1.0"

_MODULES = {
    **dict.fromkeys(
        (
            "Run",
            "ask",
            "audit",
            "bench",
            "compare",
            "curate",
            "embed",
            "evaluate",
            "explain",
            "export",
            "finetune",
            "predict",
            "pretrain",
            "report",
            "search",
            "tokenize",
        ),
        "llmkit.api",
    ),
    "Stopped": "llmkit.system.errors",
    "UserError": "llmkit.system.errors",
}
__all__ = ["__version__", *_MODULES]

fit_threads()  # here, because every way to start llmkit comes by, and torch is not loaded yet


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'llmkit' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
