"""Which cores a process may use, read from folders like those of Linux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmkit.system.cores import Cores, cores

V2 = "29 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 32 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct"
OTHERS = [
    "21 1 8:1 / / rw,relatime - ext4 /dev/root rw",
    "34 32 0:31 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory",
]


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(root: Path, file: str, text: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def in_cgroup(root: Path, cgroup: str, *mounts: str) -> None:
    write(root, "proc/self/cgroup", cgroup)
    write(root, "proc/self/mountinfo", "\n".join([*OTHERS, *mounts]))


@pytest.mark.parametrize(
    ("limits", "quota", "usable"),
    [
        ({}, None, 8),
        ({"jobs/mine": "max 100000"}, None, 8),
        ({"jobs/mine": "250000 100000"}, 2.5, 3),
        ({"jobs/mine": "400000 100000", "jobs": "150000 100000"}, 1.5, 2),  # the outer one is smaller
        ({"jobs/mine": "10000 100000"}, 0.1, 1),
        ({"jobs/mine": "1600000 100000"}, 16, 8),  # more than there is
        ({"jobs/others": "100000 100000"}, None, 8),
        ({"jobs/mine": "broken"}, None, 8),
    ],
)
def test_a_quota_of_version_2_or_of_a_cgroup_around_it(
    tmp_path: Path, limits: dict[str, str], quota: float | None, usable: int
) -> None:
    in_cgroup(tmp_path, "0::/jobs/mine", V2.format(top="/"))
    for cgroup, limit in limits.items():
        write(tmp_path, f"sys/fs/cgroup/{cgroup}/cpu.max", limit)
    found = cores(tmp_path)
    assert (found.quota, found.usable, found.threads) == (quota, usable, usable)
    assert found.limited is (usable < 8)


@pytest.mark.parametrize(("quota", "usable"), [("-1", 8), ("300000", 3), ("320000", 4)])
def test_a_quota_of_version_1(tmp_path: Path, quota: str, usable: int) -> None:
    in_cgroup(tmp_path, "4:memory:/other\n3:cpu,cpuacct:/jobs\n0::/", V1.format(top="/"))
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000")
    write(tmp_path, "sys/fs/cgroup/memory/other/cpu.max", "1 100000")
    assert cores(tmp_path).usable == usable


@pytest.mark.parametrize(
    ("cgroup", "top", "file"),
    [
        ("0::/", "/", "sys/fs/cgroup/cpu.max"),  # sees no cgroup but its own
        ("0::/docker/abc", "/docker/abc", "sys/fs/cgroup/cpu.max"),
        ("0::/docker/abc/inner", "/docker/abc", "sys/fs/cgroup/inner/cpu.max"),
        ("0::/elsewhere", "/docker/abc", "sys/fs/cgroup/cpu.max"),
        ("0::/../outside", "/", "sys/fs/cgroup/cpu.max"),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, cgroup: str, top: str, file: str) -> None:
    in_cgroup(tmp_path, cgroup, V2.format(top=top))
    write(tmp_path, file, "200000 100000")
    write(tmp_path, "sys/fs/outside/cpu.max", "100000 100000")
    assert cores(tmp_path).usable == 2


def test_an_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6})
    found = cores(tmp_path)
    assert (found.processors, found.usable, found.threads, found.limited) == (8, 3, 3, False)


def test_two_processors_on_a_core_are_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        siblings = f"{number % 4},{number % 4 + 4}"
        write(tmp_path, f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list", siblings)
    assert (cores(tmp_path).usable, cores(tmp_path).threads) == (8, 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4})
    assert (cores(tmp_path).usable, cores(tmp_path).threads) == (3, 2)


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores(tmp_path) == Cores(processors=8, allowed=8, physical=8, quota=None)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores(tmp_path).threads == 1


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Cores(8, 8, 4, None), "8 of 8"),
        (Cores(8, 8, 8, 2.5), "3 of 8, by a CPU quota of 2.5"),
        (Cores(8, 2, 2, None), "2 of 8, by an affinity to 2"),
        (Cores(8, 4, 4, 1.0), "1 of 8, by an affinity to 4 and a CPU quota of 1"),
    ],
)
def test_the_reason_is_said(found: Cores, words: str) -> None:
    assert found.why == words


def test_this_machine() -> None:
    found = cores()
    assert 1 <= found.threads <= found.usable <= found.allowed
