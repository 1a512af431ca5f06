"""Which files of a folder are checkpoints, and of which step."""

from __future__ import annotations

import pytest

from deeplimit.checks import InputError
from deeplimit.diagnosis.checkpoints import checkpoints, step_of


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", 500),
        ("step_1000", 1000),
        ("epoch=3-step=200", 200),
        ("global_step12", 12),
        ("Step 7 of 9", 7),
        ("model_3", 3),
        ("run2-epoch10", 10),
        ("last", None),
    ],
)
def test_the_step_of_a_name(name, step):
    assert step_of(name) == step


def test_checkpoints_come_in_natural_order(tmp_path):
    touch(
        tmp_path, "step_1000.safetensors", "step_200.safetensors", "step_30.safetensors", "last.safetensors", "log3.txt"
    )
    assert [(step, path.name) for step, path in checkpoints(tmp_path).items()] == [
        (30, "step_30.safetensors"),
        (200, "step_200.safetensors"),
        (1000, "step_1000.safetensors"),
    ]


def test_folders_are_checkpoints_where_weights_lie_in_them(tmp_path):
    touch(
        tmp_path,
        "checkpoint-500/model.safetensors",
        "checkpoint-1000/pytorch_model.bin",
        "logs-7/events.txt",
        "args.json",
    )
    assert list(checkpoints(tmp_path)) == [500, 1000]


@pytest.mark.parametrize(
    "own",
    ["pytorch_model.bin", "model.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors"],
)
def test_a_model_is_no_folder_of_checkpoints(tmp_path, own):
    touch(tmp_path, own, "checkpoint-1/model.safetensors", "checkpoint-2/model.safetensors")
    assert checkpoints(tmp_path) == {}


def test_fewer_than_two_are_none(tmp_path):
    touch(tmp_path, "step_1.pt")
    assert checkpoints(tmp_path) == {}
    assert checkpoints(tmp_path / "step_1.pt") == {}
    assert checkpoints(tmp_path / "absent") == {}


def test_two_of_one_step_are_refused(tmp_path):
    touch(tmp_path, "step_1.pt", "step_1.safetensors")
    with pytest.raises(InputError, match=r"one checkpoint a step, found step_1.pt and step_1.safetensors"):
        checkpoints(tmp_path)
