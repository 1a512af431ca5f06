from __future__ import annotations

import os

import pytest
import torch

from deeplimit.engines.numerics import CUBLAS, numerics


def settings() -> tuple[bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark


def test_deterministic_algorithms_are_asked_for_and_given_back(monkeypatch):
    monkeypatch.delenv(CUBLAS[0], raising=False)
    before = settings()
    with numerics("cuda", deterministic=True) as facts:
        assert settings() == (True, True, False)
        assert os.environ[CUBLAS[0]] == ":4096:8"
        assert facts["deterministic"]
    assert settings() == before == (False, False, False)


def test_on_cuda_the_fastest_convolutions_are_looked_for_unless_the_same_are_wanted():
    with numerics("cuda:1", deterministic=False) as facts:
        assert settings() == (False, False, True)
        assert facts == {
            "deterministic": False,
            "tf32_convolutions": True,
            "tf32_products": False,
        }  # PyTorch's defaults
    with numerics("cpu", deterministic=False) as facts:
        assert settings() == (False, False, False)
        assert facts == {"deterministic": False}


def test_an_error_leaves_the_settings_as_they_were():
    before = settings()
    with pytest.raises(KeyError), numerics("cpu", deterministic=True):
        raise KeyError
    assert settings() == before
