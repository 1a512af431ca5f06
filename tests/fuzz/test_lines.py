"""Whatever is typed: no traceback, no hang, nothing harmed, no code run that no word names."""

from __future__ import annotations

from tests.fuzz.lines import commands, drawn, tried

SIZE, SHARE = 50, 1.0


def test_command_lines_end_well(batch, sandbox, check):
    found = [finding for words in drawn(*batch) for finding in tried(words, sandbox)]
    check("command lines", batch[1], found)


def test_every_option_of_every_command_is_drawn():
    words = {word.partition("=")[0] for line in drawn(0, 1500) for word in line}
    options = {name for command in commands() for one in command.parameters if one.is_option for name in one.options}
    assert {"--out", "--html", "--threads", "--role", "--from"} < options
    assert not options - words


def test_the_lines_of_a_seed_are_the_same_every_time():
    assert drawn(3, 20) == drawn(3, 20)
    assert drawn(3, 20) != drawn(4, 20)
