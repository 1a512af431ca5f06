"""Whatever becomes of an output folder: what is called complete is what the study says now, and nothing else is touched."""

from __future__ import annotations

from tests.fuzz.folders import History, drawn

SIZE, SHARE = 10, 0.2


def test_histories_of_an_output_folder_end_well(batch, server, tmp_path, check):
    found = [finding for steps in drawn(*batch) for finding in History(tmp_path / "root", server, steps).play()]
    check("folders", batch[1], found)
