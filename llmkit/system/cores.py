"""The cores that this process may really use: fewer than the machine has, under an affinity or a CPU quota."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Cores:
    """What the machine has and what this process may use of it.

    `allowed` of the machine's `processors` are open to this process, on `physical` cores: two processors may share a
    core. `quota` is the time it may compute, in processors, or None without a limit.
    """

    processors: int
    allowed: int
    physical: int
    quota: float | None

    @property
    def limited(self) -> bool:
        """Whether the quota is less than what the affinity leaves. Libraries look at the affinity alone."""
        return self.quota is not None and ceil(self.quota) < self.physical

    @property
    def usable(self) -> int:
        """How many processors can be kept busy: for work that gains from two on a core."""
        return self._within_quota(self.allowed)

    @property
    def threads(self) -> int:
        """How many threads compute best: one a core."""
        return self._within_quota(self.physical)

    @property
    def why(self) -> str:
        """The same in words, such as `3 of 8, by a CPU quota of 2.5`."""
        reasons = []
        if self.allowed < self.processors:
            reasons.append(f"an affinity to {self.allowed}")
        if self.quota is not None:
            reasons.append(f"a CPU quota of {self.quota:g}")
        return f"{self.usable} of {self.processors}" + (f", by {' and '.join(reasons)}" if reasons else "")

    def _within_quota(self, count: int) -> int:
        return count if self.quota is None else max(1, min(count, ceil(self.quota)))


def cores(root: Path = Path("/")) -> Cores:
    """The cores of this process. `root` is where /proc and /sys are."""
    processors = os.cpu_count() or 1
    numbers = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(processors))
    return Cores(processors, len(numbers), _physical(numbers, root), _quota(root))


def _physical(numbers: set[int], root: Path) -> int:
    """Distinct cores of these processors. Where the system does not tell, each is one."""
    folder = root / "sys/devices/system/cpu"
    return len({_read(folder / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in numbers})


def _quota(root: Path) -> float | None:
    """The smallest CPU quota of this process's cgroup and those it is in: each of them limits it."""
    limits = [limit for folder in _cgroups(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _limit(cgroup: Path) -> float | None:
    """The quota of one cgroup, in processors: `cpu.max` in version 2, two files in version 1."""
    if (both := _read(cgroup / "cpu.max")) is not None:
        quota, _, period = both.partition(" ")
    else:
        quota = _read(cgroup / "cpu.cfs_quota_us") or "max"
        period = _read(cgroup / "cpu.cfs_period_us") or ""
    try:
        return int(quota) / int(period) if int(quota) > 0 else None  # version 1 says -1 for no limit
    except (ValueError, ZeroDivisionError):  # "max"
        return None


def _cgroups(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroups that can limit its CPU, from the innermost outwards."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if "cpu" not in controllers.split(",") and (number, controllers) != ("0", ""):
            continue
        for top, mount in _mounts(root, version=1 if controllers else 2):
            inside = _inside(path, top)
            yield from (mount / part for part in (inside, *inside.parents))


def _mounts(root: Path, version: int) -> Iterator[tuple[str, Path]]:
    """Where the hierarchy is mounted, each with the cgroup that is seen there as the outermost one."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup2" if version == 2 else kind == "cgroup" and "cpu" in options.split(","):
            top, point = mount.split(" ")[3:5]
            yield top, root / point.lstrip("/")


def _inside(path: str, top: str) -> PurePosixPath:
    """A cgroup's path below its mount. A container sees no more than the mount itself."""
    try:
        inside = PurePosixPath(path).relative_to(top)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in inside.parts else inside


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return None
