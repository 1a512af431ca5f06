"""Faults and harmless copies are what they say, and the count of what was found is right."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from benchmarks.faults import scoring
from benchmarks.faults.architectures import ARCHITECTURES
from benchmarks.faults.harmless import COPIES, harmless
from benchmarks.faults.inject import Patient, inject
from benchmarks.faults.scoring import Outcome
from benchmarks.faults.training import STAGES, train, trained

IMAGES = {"perceptron": (4, 1, 28, 28), "vision": (4, 1, 28, 28), "convolution": (4, 3, 32, 32)}


@cache
def fresh(name, seed=0):
    """Weights as after some training: nothing is 0 or 1 any more, and variances stay positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = ARCHITECTURES[name].build().double().state_dict()
    return {
        key: value + 0.1 * torch.randn(value.shape, generator=generator).abs() if value.is_floating_point() else value
        for key, value in state.items()
    }


@cache
def inputs(name):
    generator = torch.Generator().manual_seed(0)
    if name in ("decoder", "encoder"):
        return torch.randint(10, (4, 16), generator=generator)
    return torch.randn(IMAGES.get(name, (4, 24)), generator=generator, dtype=torch.float64)


def output(name, state):
    network = ARCHITECTURES[name].build().double()
    network.load_state_dict(state)
    with torch.no_grad():
        return network.eval()(inputs(name))


def patient(name):
    return Patient(ARCHITECTURES[name], fresh(name), fresh(name, 1))


def changed(name, before, after):
    """Numbers of the blocks that differ."""
    a = ARCHITECTURES[name]
    names = {key for key in before if not torch.equal(before[key], after[key])}
    assert all(key.startswith(f"{a.group}.") for key in names)
    return {int(key.removeprefix(f"{a.group}.").split(".")[0]) for key in names}


def block(state, name, index):
    prefix = ARCHITECTURES[name].block(index)
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_harmless_copy_has_other_weights_and_the_same_function(name, kind):
    a, state = ARCHITECTURES[name], fresh(name)
    if kind == "rescaled" and not a.normed:
        return
    copy = harmless(kind, a, state, generator=torch.Generator().manual_seed(0))
    assert len(changed(name, {k: v for k, v in state.items() if k.startswith(a.group)}, copy)) == a.depth
    if kind in ("bfloat16", "float16"):
        assert all(torch.allclose(state[key], copy[key], rtol=2**-8, atol=1e-7) for key in state)
    else:  # norms add a little to what they divide by
        before = output(name, state)
        assert (output(name, copy) - before).norm() < (0.01 if kind == "rescaled" else 1e-9) * before.norm()


@pytest.mark.parametrize(
    ("name", "kind"), [(a.name, kind) for a in ARCHITECTURES.values() for kind in scoring.kinds(a)]
)
def test_a_fault_is_in_the_blocks_that_are_named_and_changes_the_function(name, kind):
    subject = patient(name)
    state, blocks = inject(kind, subject, generator=torch.Generator().manual_seed(3))
    differ = changed(name, subject.state, state)
    assert differ == ({blocks[1]} if kind == "tied by mistake" else set(blocks))
    assert not torch.allclose(output(name, state), output(name, subject.state), rtol=1e-6)


@pytest.mark.parametrize("name", ["flow", "decoder", "convolution"])
def test_faults_are_what_they_say(name):
    subject, a = patient(name), ARCHITECTURES[name]
    for seed in range(5):
        made = {kind: inject(kind, subject, generator=torch.Generator().manual_seed(seed)) for kind in scoring.kinds(a)}
        state, (k, following) = made["tied by mistake"]
        assert same(block(state, name, k), block(state, name, following))
        assert following == k + 1
        state, (k,) = made["block of another net"]
        assert same(block(state, name, k), block(subject.other, name, k))
        state, blocks = made["permuted layers"]
        old = [block(subject.state, name, k) for k in blocks]
        assert all(sum(same(block(state, name, k), candidate) for candidate in old) == 1 for k in blocks)
        state, (k,) = made["dead block"]
        assert all(not block(state, name, k)[suffix].any() for suffix in a.output)
        state, (k,) = made["wrong multiplier"]
        ratios = [block(state, name, k)[s].norm() / block(subject.state, name, k)[s].norm() for s in a.output]
        size = max(ratios[0], 1 / ratios[0])
        assert 2.5 <= size <= 10
        assert all(ratio == pytest.approx(ratios[0].item(), rel=1e-4) for ratio in ratios)
        state, (k,) = made["rough block"]
        suffix = a.matrices(state)[0]
        noise = block(state, name, k)[suffix] - block(subject.state, name, k)[suffix]
        assert noise.norm() == pytest.approx(block(subject.state, name, k)[suffix].norm().item(), rel=1e-4)


def test_training_is_seeded_and_kept(tmp_path):
    quick = dataclasses.replace(ARCHITECTURES["flow"], steps=8)
    first = trained(quick, 0, cache=tmp_path)
    assert list(first) == list(STAGES)
    assert len(list(tmp_path.iterdir())) == len(STAGES)
    again = train(quick, 0)
    assert all(same(first[stage], again[stage]) for stage in STAGES)
    assert not same(first["early"], first["end"])
    assert not same(first["end"], train(quick, 1)["end"])
    (tmp_path / "flow-0-end.safetensors").unlink()
    assert same(trained(quick, 0, cache=tmp_path)["end"], first["end"])


def said(kind, blocks=(3,), *, findings=(), function="flow"):
    return Outcome("flow", 0, kind, 20, blocks, findings, function)


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (said("dead block", findings=(("dead", (3,)),)), True),
        (said("dead block", findings=(("dead", (4,)),)), False),
        (said("dead block", findings=(("rough", (3,)),)), False),
        (said("dead block", function="identity"), False),
        (said("tied by mistake", (3, 4), findings=(("tied", (4, 5)),)), True),
        (said("double scaling", tuple(range(20)), function="identity"), True),
        (said("double scaling", tuple(range(20))), False),
    ],
)
def test_what_counts_as_found(outcome, found):
    assert outcome.found is found


def test_a_verdict_of_identity_on_a_clean_network_is_a_false_alarm():
    assert said("end", (), function="identity").alarm
    assert said("end", (), findings=(("order", (1,)),)).alarm
    assert not said("end", ()).alarm


def test_tables_count_and_are_written_between_the_markers(tmp_path):
    hit, miss = said("dead block", findings=(("dead", (3,)),)), said("dead block")
    calm, alarm = said("end", ()), said("end", (), findings=(("scale", (1, 2)),))
    text = scoring.lines([hit, hit, miss, calm, alarm])
    row = next(line for line in text if "equal layers" in line)
    assert row.split("|")[4].strip() == "2/3"
    assert row.split("|")[-2].strip() == "1/2"
    assert "| found, of all faults of single blocks that weights must show | 2/3 = 0.667 [0.208, 0.939] |" in text
    assert any("blamed | 2/40 = 0.050" in line for line in text)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults: begin -->\nold\n<!-- faults: end -->\nafter\n", encoding="utf-8")
    scoring.write(text, page)
    content = page.read_text(encoding="utf-8")
    assert content.startswith("before\n<!-- faults: begin -->\n\n| network |")
    assert content.endswith("<!-- faults: end -->\nafter\n")
    assert "old" not in content
