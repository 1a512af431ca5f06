from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from safetensors.torch import save as save_torch

from deeplimit.checks import InputError
from deeplimit.records import Checkpoint
from deeplimit.records.checkpoint import CHECKSUM, FACTS, _digest, interval
from deeplimit.records.integrity import FORMAT


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


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def packed(**changes: object) -> bytes:
    """A checkpoint with a right checksum of other facts."""
    about = {"format": FORMAT, "run": "run", "facts": {}, "seconds": 1.0, **changes}
    arrays = {FACTS: np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    return save({**arrays, CHECKSUM: np.frombuffer(_digest(arrays), dtype=np.uint8)})


DAMAGES = {
    "empty": (lambda content: b"", "no safetensors file"),
    "text": (lambda content: b"nonsense", "no safetensors file"),
    "of PyTorch": (lambda content: save_torch({"x": torch.zeros(2, dtype=torch.bfloat16)}), "no safetensors file"),
    "of another program": (lambda content: save({"x": np.zeros(2)}), "it has no checksum"),
    "truncated": (lambda content: content[:-8], "no safetensors file"),
    "a number": (lambda content: flipped(content, content.index(np.float64(3.25).tobytes())), "content was altered"),
    "a fact": (lambda content: content.replace(b'"iteration": 7', b'"iteration": 8'), "content was altered"),
    "a name": (lambda content: content.replace(b'"x"', b'"y"'), "content was altered"),
    "a shape": (lambda content: content.replace(b"[2,3]", b"[3,2]"), "content was altered"),
    "another run": (lambda content: packed(run="other"), "it is of the run other"),
    "another format": (lambda content: packed(format=FORMAT + 1), f"it is of format {FORMAT + 1}, where"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_passed_over_with_a_message_and_the_run_goes_on_from_its_next_save(
    checkpoint, caplog, damage
):
    checkpoint.save({"x": np.full((2, 3), 3.25)}, {"iteration": 7})
    edit, message = DAMAGES[damage]
    content = checkpoint.path.read_bytes()
    assert edit(content) != content
    checkpoint.path.write_bytes(edit(content))
    assert checkpoint.load() is None
    assert message in caplog.text
    assert f"checkpoint {checkpoint.path} cannot be used" in caplog.text
    assert "the run starts again" in caplog.text
    checkpoint.save({}, {"iteration": 1})
    assert checkpoint.load() == ({}, {"iteration": 1})


def test_what_was_right_was_the_packing(checkpoint):
    checkpoint.path.write_bytes(packed())
    assert checkpoint.load() == ({}, {})


@pytest.mark.parametrize("what", ["folder", "pipe", "link to nothing"])
def test_what_is_no_file_is_passed_over_and_makes_room(checkpoint, caplog, what):
    if what == "folder":
        (checkpoint.path / "inside").mkdir(parents=True)
    elif what == "pipe":
        os.mkfifo(checkpoint.path)
    else:
        checkpoint.path.symlink_to("nowhere")
    assert checkpoint.load() is None
    assert "cannot be used" in caplog.text
    checkpoint.save({}, {"iteration": 1})
    assert checkpoint.load() == ({}, {"iteration": 1})


def test_swapped_files_are_passed_over(tmp_path, caplog):
    one, two = (Checkpoint(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    one.save({"x": np.ones(2)}, {})
    two.save({"x": np.zeros(2)}, {})
    aside = tmp_path / "aside"
    for old, new in ((one.path, aside), (two.path, one.path), (aside, two.path)):
        old.rename(new)
    assert one.load() is two.load() is None
    assert "it is of the run two" in caplog.text
    assert "it is of the run one" in caplog.text


@pytest.mark.parametrize("name", [FACTS, CHECKSUM])
def test_the_names_of_what_is_added_are_taken(checkpoint, name):
    with pytest.raises(InputError, match="is taken"):
        checkpoint.save({name: np.zeros(1)}, {})


def test_the_interval_is_a_minute_or_what_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPLIMIT_CHECKPOINT_SECONDS", raising=False)
    assert interval() == 60.0
    monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", "0.5")
    assert Checkpoint(tmp_path / "a").every == 0.5
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", wrong)
        with pytest.raises(InputError, match=f"at least 0, found '{wrong}'"):
            interval()
