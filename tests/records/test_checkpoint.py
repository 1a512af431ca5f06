from __future__ import annotations

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.records import Checkpoint
from deeplimit.records.checkpoint import FACTS, interval


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "run.safetensors", every=0.0)


def test_nothing_saved_is_nothing_loaded(checkpoint):
    assert checkpoint.load() is None


def test_state_comes_back_bit_for_bit(checkpoint):
    generator = np.random.default_rng(0)
    arrays = {
        "matrix": generator.normal(size=(3, 4)),
        "view": generator.normal(size=(3, 4)).T[::2],
        "number": np.array(3.5),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 2), dtype=np.int64),
        "half": generator.normal(size=3).astype(np.float32),
    }
    facts = {"iteration": 7, "rows": [{"value": 0.1}, {"value": float("inf")}], "name": "λ"}
    checkpoint.save(arrays, facts)
    loaded, again = checkpoint.load()
    assert again == facts
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].tobytes() == array.tobytes()
        assert loaded[name].shape == array.shape


def test_what_is_loaded_can_be_written_to(checkpoint):
    checkpoint.save({"x": np.zeros(2)}, {})
    arrays, _ = checkpoint.load()
    arrays["x"] += 1.0
    assert arrays["x"].tolist() == [1.0, 1.0]


def test_the_last_save_counts_and_remove_forgets(checkpoint):
    checkpoint.save({}, {"iteration": 1})
    checkpoint.save({}, {"iteration": 2})
    assert checkpoint.load() == ({}, {"iteration": 2})
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() is None


def test_seconds_of_killed_processes_are_added(checkpoint):
    checkpoint.began -= 100.0
    checkpoint.save({}, {})
    later = Checkpoint(checkpoint.path)
    assert later.seconds < 1.0
    later.load()
    assert 100.0 <= later.seconds < 110.0


def test_due_after_the_interval(checkpoint, tmp_path):
    assert checkpoint.due()
    rare = Checkpoint(tmp_path / "rare", every=50.0)
    assert not rare.due()
    rare.last -= 60.0
    assert rare.due()
    rare.save({}, {})
    assert not rare.due()


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "], ids=["empty", "text", "no facts"])
def test_a_file_that_cannot_be_read_is_passed_over_with_a_message(checkpoint, caplog, damage):
    checkpoint.path.write_bytes(damage)
    assert checkpoint.load() is None
    assert "cannot be read" in caplog.text
    assert str(checkpoint.path) in caplog.text


def test_a_truncated_file_is_passed_over(checkpoint, caplog):
    checkpoint.save({"x": np.ones(100)}, {})
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-8])
    assert checkpoint.load() is None
    assert "starts again" in caplog.text


def test_the_name_of_the_facts_is_taken(checkpoint):
    with pytest.raises(InputError, match="is taken"):
        checkpoint.save({FACTS: np.zeros(1)}, {})


def test_the_interval_is_a_minute_or_what_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPLIMIT_CHECKPOINT_SECONDS", raising=False)
    assert interval() == 60.0
    monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", "0.5")
    assert Checkpoint(tmp_path / "a").every == 0.5
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", wrong)
        with pytest.raises(InputError, match=f"at least 0, found '{wrong}'"):
            interval()
