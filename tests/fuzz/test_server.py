"""The harness sees what it is there to see: each kind of harm, done by a study file that stands for the program."""

from __future__ import annotations

import pytest

from tests.fuzz.findings import judged
from tests.fuzz.folders import History
from tests.fuzz.studies import Constants

HARMS = {
    "hang": "while True: pass",
    "crash": "import os; os.abort()",
    "memory": "x = bytearray(2_000_000_000)\nfor k in range(0, len(x), 4096): x[k] = 1",
    "harmed": "open('net.safetensors', 'w').write('gone')",
    "code": "exec(compile(open('json.py').read(), 'json.py', 'exec'))",
    "words": "import os; os._exit(9)",
    "traceback": "import sys; print('Traceback (most recent call last):\\n  File \"x/src/deeplimit/y.py\", line 7\\nKeyError: 3')",
}


@pytest.mark.parametrize("kind", HARMS)
def test_harm_is_seen(kind, sandbox):
    file = sandbox.work / "given" / "harm.py"
    file.parent.mkdir()
    file.write_text(HARMS[kind])
    try:
        answer = sandbox.run(["study", str(file)], seconds=20.0 if kind != "hang" else 2.0)
        found = judged(answer, "") + sandbox.judge(["study", str(file)], answer, "")
    finally:
        file.unlink()
        file.parent.rmdir()
    assert {finding.kind for finding in found} == {kind}


def test_a_harmless_line_is_harmless_and_a_sandbox_is_whole_again(sandbox):
    answer = sandbox.run(["diagnose", "net.safetensors"])
    assert judged(answer, "") + sandbox.judge([], answer, "") == []
    assert sandbox.snapshot() == sandbox.before
    assert "gone" not in (sandbox.work / "net.safetensors").read_bytes().decode(errors="replace")


@pytest.mark.parametrize("place", ["/etc/new", "../../../new"])
def test_nothing_outside_of_the_sandbox_can_be_written(place, sandbox):
    file = sandbox.work / "given" / "harm.py"
    file.parent.mkdir()
    file.write_text(f"open({place!r}, 'w')")
    answer = sandbox.run(["study", str(file)])
    file.unlink()
    file.parent.rmdir()
    assert [finding.kind for finding in judged(answer, "")] == ["harmed"]


def test_rows_of_another_time_are_seen(server, tmp_path):
    history = History(tmp_path / "root", server, [["run"]])
    assert history.play() == []
    history.constants = Constants(helper=1)  # the study stays, what is expected of it does not
    history.run()
    assert {finding.kind for finding in history.findings} == {"stale"}


def test_a_study_uses_its_own_helper(server, tmp_path):
    history = History(tmp_path / "root", server, [])
    history.constants = Constants(helper=99)
    history.write()
    history.run()
    assert history.findings == []
    assert max(row[3] for row in history.rows()) == max(row[3] for row in Constants(helper=99).rows())
