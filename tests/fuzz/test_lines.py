"""Whatever is typed: no traceback, no hang, nothing harmed, no code run that no word names."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from deeplimit.cli import app
from tests.fuzz.lines import NUMBERS, PATHS, commands, drawn, tried

SIZE, SHARE = 50, 1.0


def test_command_lines_end_well(batch, sandbox, check):
    found = [finding for words in drawn(*batch) for finding in tried(words, sandbox)]
    check("command lines", batch[1], found)


def test_every_option_of_every_command_is_known():
    for command in dict.fromkeys(commands()):
        page = CliRunner().invoke(app, [*command.path, "--help"], env={"COLUMNS": "300"}).output
        shown = set(re.findall(r"^\s*(?:-\w, )?(--[a-z][\w-]*)", page, re.MULTILINE))
        known = {name for one in command.parameters for name in one.options if name.startswith("--")}
        assert "--help" in shown
        assert shown - {"--help"} == known - {"--help"}


def test_fitting_and_hostile_values_are_drawn_for_every_kind_of_parameter():
    found = drawn(0, 400)
    words = [word for line in found for word in line]
    assert {"mine.py", "net.safetensors", "--out", "--html", "--threads"} < set(words)
    assert len(set(NUMBERS) & set(words)) > len(NUMBERS) / 3
    assert len(set(PATHS) & set(words)) > len(PATHS) / 3
    assert len({tuple(line) for line in found}) == 400
    assert any(word.startswith("--") and "=" in word for word in words)


def test_the_lines_of_a_seed_are_the_same_every_time():
    assert drawn(3, 20) == drawn(3, 20)
    assert drawn(3, 20) != drawn(4, 20)
