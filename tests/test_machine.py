from __future__ import annotations

import os

import pytest

from deeplimit import machine
from deeplimit.checks import InputError


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """A machine written down: a function that writes what a file of it says."""
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    write("proc/self/cgroup", "0::/own/group\n")
    return write


def test_without_limits_it_is_what_the_system_has(linux):
    assert machine.processors() == 8
    assert machine.memory() == 8000 * 1024


def test_a_container_of_today_is_smaller_than_its_machine(linux):
    linux("groups/own/group/cpu.max", "250000 100000\n")
    linux("groups/own/group/memory.max", "4000000\n")
    linux("groups/own/group/memory.current", "1500000\n")
    linux("groups/own/group/memory.stat", "anon 500000\ninactive_file 900000\nactive_file 100000\n")
    assert machine.processors() == 2
    assert machine.memory() == 4000000 - 500000


def test_a_limit_above_the_own_group_holds_too(linux):
    linux("groups/own/group/memory.max", "max\n")
    linux("groups/own/group/cpu.max", "max 100000\n")
    linux("groups/memory.max", "3000000\n")
    linux("groups/memory.current", "1000000\n")
    linux("groups/own/cpu.max", "50000 100000\n")
    assert machine.memory() == 2000000
    assert machine.processors() == 1


def test_a_container_of_the_older_kind(linux):
    linux("proc/self/cgroup", "4:memory:/here\n1:cpu,cpuacct:/not/there\n")
    linux("groups/memory/here/memory.limit_in_bytes", "5000000\n")
    linux("groups/memory/here/memory.usage_in_bytes", "1000000\n")
    linux("groups/cpu/cpu.cfs_quota_us", "300000\n")
    linux("groups/cpu/cpu.cfs_period_us", "100000\n")
    assert machine.memory() == 4000000
    assert machine.processors() == 3
    linux("groups/cpu/cpu.cfs_quota_us", "-1\n")
    assert machine.processors() == 8


@pytest.mark.parametrize("text", ["", "garbage\n", "max\n", "\x00", "0 0\n"])
def test_files_that_say_nothing_limit_nothing(linux, text):
    linux("groups/own/group/memory.max", text)
    linux("groups/own/group/memory.current", "1")
    linux("groups/own/group/cpu.max", text)
    assert machine.processors() in (8, 1)
    assert machine.processors() == 8
    assert machine.memory() == 8000 * 1024


def test_a_system_that_does_not_say_what_is_free_says_what_it_has(linux, monkeypatch):
    linux("proc/meminfo", "")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 100}[name])
    assert machine.memory() == 409600


def test_more_than_there_is_becomes_what_there_is_with_a_note(linux):
    assert machine.capped("workers", 8) == (8, "")
    assert machine.capped("workers", 10**6) == (8, "workers 1000000: 8 processors here, so 8")
    assert machine.capped("workers", 8, threads=4) == (2, "workers 8: 8 processors here, 4 threads of each, so 2")
    assert machine.capped("workers", 2, threads=16) == (1, "workers 2: 8 processors here, 16 threads of each, so 1")
    with pytest.raises(InputError, match="threads: expected an integer of at least 1, found 0"):
        machine.capped("threads", 0)


def test_what_does_not_fit_is_refused_before_it_is_taken(linux):
    machine.check_memory("batch", 8000 * 1024.0)
    with pytest.raises(
        InputError, match=r"batch: .* the 8\.2 MB of memory that are free here, found 9\.0 MB; fewer would"
    ):
        machine.check_memory("batch", 9e6, remedy="fewer")
