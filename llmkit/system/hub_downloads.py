"""What huggingface_hub downloads, shown as our progress. Its own bars are silent (see machine.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from llmkit.system.progress import Progress, Rate

TRANSFER = "downloading bytes"  # in the second bar of a file that Xet sends: what comes over the network


class _Downloads:
    """The downloads that are under way, as one progress: files may come several at a time."""

    def __init__(self) -> None:
        self._lock, self._number = RLock(), 0
        self._files: dict[int, tuple[str, float, float]] = {}  # by number: name, bytes that are here, bytes in all
        self._progress: Progress | None = None
        self._rate = Rate()

    def add(self, name: str, done: float, total: float | None) -> int:
        """Begin with a file. Returns its number."""
        with self._lock:
            if not self._files:
                self._rate = Rate()
            self._number += 1
            self._files[self._number] = (name, done, total or 0)
            return self._number

    def arrived(self, key: int | None, size: float) -> None:
        """Count bytes of a file."""
        with self._lock:
            if key is None or key not in self._files:
                return
            if self._progress is None:
                self._progress = Progress("downloading").__enter__()
            name, done, total = self._files[key]
            self._files[key] = (name, done + size, total)
            self._rate.add(size)
            here = sum(done for _, done, _ in self._files.values())
            whole = sum(total for *_, total in self._files.values())
            known = all(file[2] for file in self._files.values())
            size_told = f"{here / 1e6:,.1f} of {whole / 1e6:,.1f} MB" if known else f"{here / 1e6:,.1f} MB"
            files = name if len(self._files) == 1 else f"{len(self._files)} files"
            parts = {files: size_told, "": f"{self._rate.per_second / 1e6:,.1f} MB/s"}
            self._progress(parts, min(here / whole, 1.0) if known else None)

    def end(self, key: int | None) -> None:
        """End a file. The progress ends with the last of those that came together."""
        with self._lock:
            if key is not None and key in self._files:
                name, _, total = self._files[key]
                self._files[key] = (name, total, total)
                if all(done >= whole for _, done, whole in self._files.values()):
                    self.stop()

    def stop(self) -> None:
        """Show nothing any more."""
        with self._lock:
            self._files = {}
            if self._progress is not None:
                self._progress.__exit__()
                self._progress = None


_downloads, _shown = _Downloads(), False


@contextmanager
def showing_downloads() -> Iterator[None]:
    """Show what huggingface_hub downloads inside, whichever library asks it to."""
    global _shown
    if _shown:  # already, around this
        yield
        return
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # re-exported there

    begin: Callable[..., None] = tqdm.__init__

    def init(bar: Any, *arguments: Any, **options: Any) -> None:
        begin(bar, *arguments, **options)
        about = str(options.get("desc") or "")  # an address, shortened in front: `(…)/main/model.safetensors`
        if options.get("unit") == "B" and TRANSFER not in about.lower():
            name = about.partition(":")[0].rpartition("/")[2]
            bar.download = _downloads.add(name, options.get("initial") or 0, options.get("total"))

    def update(bar: Any, n: float | None = 1) -> Any:
        _downloads.arrived(getattr(bar, "download", None), n or 0)
        return super(tqdm, bar).update(n)

    def close(bar: Any) -> None:
        _downloads.end(getattr(bar, "download", None))
        super(tqdm, bar).close()

    ours = {"__init__": init, "update": update, "close": close}
    before = {name: tqdm.__dict__[name] for name in ours if name in tqdm.__dict__}
    for name, function in ours.items():
        setattr(tqdm, name, function)
    _shown = True
    try:
        yield
    finally:
        _shown = False
        for name in ours:
            if name in before:
                setattr(tqdm, name, before[name])
            else:
                delattr(tqdm, name)
        _downloads.stop()
