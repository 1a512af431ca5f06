"""What `deeplimit demo` writes is what it says: every command that it prints is run, and shows what is said of it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deeplimit.__main__ import main
from deeplimit.demo import EXCHANGED, FACTOR, SCALED, tries, write_demo
from deeplimit.diagnosis.diagnose import diagnose


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("some where") / "demo"
    write_demo(directory)
    return directory


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs a command line as a shell in the folder would, `*` included; (status, stdout)."""

    def run(line: str, *more: str) -> tuple[int, str]:
        words = [word for part in shlex.split(line) for word in expanded(part)]
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().out

    return run


def expanded(word: str) -> list[str]:
    folder, star, ending = word.partition("*")
    return sorted(map(str, Path(folder).glob(star + ending))) if star else [word]


def the(folder: Path, part: str) -> tuple[str, str]:
    """The command that holds these words, and what is said of it."""
    (found,) = (row for row in tries(folder) if part in row.command)
    return found.command, found.shows


def test_the_network_is_smooth_and_nothing_is_odd(folder, call):
    command, shows = the(folder, "/net.safetensors")
    status, out = call(command, "--json")
    (group,) = json.loads(out)["groups"]
    assert (status, group["weights"]["label"], group["findings"], len(group["blocks"])) == (0, "smooth", [], 16)
    assert "smooth over depth, and no block is odd" in shows


def test_the_faults_that_were_planted_are_found_and_no_others(folder, call):
    command, shows = the(folder, "faulty")
    _, out = call(command, "--json")
    (group,) = json.loads(out)["groups"]
    found = {finding["kind"]: tuple(finding["blocks"]) for finding in group["findings"]}
    assert found == {"order": EXCHANGED, "scale": (SCALED,)}
    assert f"blocks {EXCHANGED[0]} and {EXCHANGED[1]} exchanged and block {SCALED} {FACTOR:g} times too large" in shows


def test_the_twin_is_a_copy_but_for_its_faults(folder):
    net, faulty = (load_file(folder / f"{name}.safetensors") for name in ("net", "faulty"))
    assert net.keys() == faulty.keys()
    changed = {int(name.split(".")[1]) for name in net if not torch.equal(net[name], faulty[name])}
    assert changed == {*EXCHANGED, SCALED}
    first, second = EXCHANGED
    assert torch.equal(net[f"blocks.{first}.up.weight"], faulty[f"blocks.{second}.up.weight"])


def test_the_network_was_trained_and_its_module_is_a_flow(folder, call):
    command, shows = the(folder, "net.py:net")
    _, out = call(command, "--json")
    (group,) = json.loads(out)["groups"]
    assert (group["weights"]["label"], group["function"]["label"]) == ("smooth", "flow")
    assert "the small steps of one flow" in shows
    first, last = (load_file(folder / "net.safetensors")[f"blocks.{block}.up.weight"] for block in (0, 15))
    assert float((first - last).norm() / first.norm()) > 0.2  # blocks started equal


@pytest.mark.parametrize(
    ("start", "weights", "function"),
    [("equal", "hypothesis 1", "neural ODE"), ("independent", "i.i.d.-like", "mean ODE")],
)
def test_a_family_has_the_verdicts_that_are_said(folder, call, start, weights, function):
    command, shows = the(folder, f"/{start}/")
    status, out = call(command)
    assert status == 0
    assert all(f"weights {role}: {weights}:" in out for role in "VW")
    assert f"function: {function}:" in out
    assert weights in shows
    assert function in shows


def test_the_study_runs_and_is_of_forty_lines_or_so(folder, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, shows = the(folder, "study ")
    status, out = call(command, "--strict")
    assert status == 0
    rulings = {line.split()[-1]: line for line in out.splitlines() if "±" in line}
    assert rulings.keys() == {"equal", "independent", "both"}
    assert "not reproduced" in rulings["both"]
    assert "one exponent falls as 1/L, the other does not" in shows
    assert len((folder / "study.py").read_text(encoding="utf-8").splitlines()) < 60


def test_the_same_files_come_every_time_and_nobody_elses_random_numbers_move(folder, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    write_demo(tmp_path)  # an empty folder will do
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(names) == 45
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_nothing_that_is_there_is_touched(folder, tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "elsewhere")
    before = sorted(path.name for path in tmp_path.iterdir())
    for place, words in [
        (tmp_path, "expected a new or empty one, found something at"),
        (mine, "expected a new or empty one, found something at"),
        (tmp_path / "no" / "such", "expected a new or empty one in a folder that exists, found"),
        ("-", "expected a new or empty one in a folder that exists, found '-'"),
        ("", "expected a new or empty one in a folder that exists, found ''"),
        (dangling, "expected a new or empty one, found something at"),
    ]:
        monkeypatch.setattr(sys, "argv", ["deeplimit", "demo", str(place)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert mine.read_text() == "mine"


def test_the_command_prints_what_to_try(folder, monkeypatch, capsys, tmp_path):
    from deeplimit import demo

    monkeypatch.setattr(demo, "write_demo", lambda place: tries(Path(place)))
    monkeypatch.setattr(sys, "argv", ["deeplimit", "demo", str(tmp_path / "two words")])
    with pytest.raises(SystemExit):
        main()
    out = capsys.readouterr().out
    assert all(row.command in out and row.shows in out for row in tries(tmp_path / "two words"))
    assert "two words'/net.safetensors" in out  # quoted for a shell


def test_without_faults_there_is_nothing_to_find(folder):
    assert diagnose(str(folder / "net.safetensors")).groups[0].findings == ()
