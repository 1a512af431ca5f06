"""A small part of the benchmark of faults: networks that are trained for a second, and every fault once in each."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.faults import scoring
from benchmarks.faults.architectures import ARCHITECTURES
from benchmarks.faults.harmless import harmless
from benchmarks.faults.inject import FAULTS, Patient, inject
from benchmarks.faults.training import batch, module, train
from deeplimit.diagnosis.diagnose import diagnose


@pytest.fixture(scope="module", params=["flow", "rough"])
def patient(request):
    """Residual perceptrons from equal and from independent layers, of two seeds."""
    short = dataclasses.replace(ARCHITECTURES[request.param], steps=160)
    return Patient(short, *(train(short, seed)["end"] for seed in (0, 1)))


def judged(patient, state, *, kind, blocks=()):
    a = patient.architecture
    case = scoring.Case(a, 0, kind, state, blocks)
    return scoring.outcome(case, diagnose(module(a, state), batch(a) if case.needs_batch else None))


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_are_found(patient, kind):
    state, blocks = inject(kind, patient, generator=torch.Generator().manual_seed(1))
    found = judged(patient, state, kind=kind, blocks=blocks)
    if not scoring.visible(found):
        return
    if (kind, patient.architecture.name) == ("double scaling", "rough"):
        assert found.function == "averaging"  # what is left is a network as good as any: nothing in it is out of place
        return
    assert found.found, f"block {blocks}: {found.findings}, {found.function}"


def test_clean_networks_raise_no_alarm(patient):
    a, generator = patient.architecture, torch.Generator().manual_seed(0)
    copies = [harmless(kind, a, patient.state, generator=generator) for kind in ("units in another order", "bfloat16")]
    for state in (patient.state, patient.other, *copies):
        assert not judged(patient, state, kind="clean").alarm
