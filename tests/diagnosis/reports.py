"""Reports as a diagnosis makes them, with numbers drawn at random, for tests of what is printed and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from deeplimit.claims import Measured
from deeplimit.diagnosis import Consequence, Finding, GroupReport, LeftOut, Passage, Profile, Report, Verdict
from deeplimit.diagnosis.blocks.group import Part
from deeplimit.diagnosis.report import FindingKind, FunctionLabel, WeightsLabel
from deeplimit.regimes import Smoothness

View = Literal["raw", "aligned", "invariant"]

ROLES: tuple[tuple[str, Part, View, tuple[int, ...]], ...] = (
    ("attention.query", "attention", "raw", (384, 384)),
    ("attention.key", "attention", "raw", (384, 384)),
    ("attention.value", "attention", "raw", (384, 384)),
    ("attention.output", "attention", "raw", (384, 384)),
    ("attention.output.bias", "attention", "raw", (384,)),
    ("mlp.up", "mlp", "raw", (1536, 384)),
    ("mlp.up", "mlp", "aligned", (1536, 384)),
    ("mlp.down", "mlp", "raw", (384, 1536)),
    ("norm.attention.gain", "norm", "raw", (384,)),
    ("norm.mlp.gain", "norm", "raw", (384,)),
    ("attention.scores", "attention", "invariant", (384, 384)),
    ("attention.values", "attention", "invariant", (384, 384)),
    ("mlp", "mlp", "invariant", (384, 384)),
)
CONVOLUTIONS: tuple[tuple[str, Part, View, tuple[int, ...]], ...] = (
    ("conv1.weight", "convolution", "raw", (64, 64, 3, 3)),
    ("conv2.weight", "convolution", "raw", (64, 64, 3, 3)),
    ("convolutions", "convolution", "invariant", (64, 64)),
)

KINDS: tuple[FindingKind, ...] = get_args(FindingKind)
WEIGHTS: tuple[str, ...] = get_args(WeightsLabel)
FUNCTIONS: tuple[str, ...] = get_args(FunctionLabel)
REASON = (
    "neighbouring blocks differ less than blocks in a random order, and the maps look like a path with noise at the scale of a block: "
    "4 of 6 roles are rough, with a pooled roughness of 0.48 [0.41, 0.55]"
)


def report(*groups: GroupReport, notes: Sequence[str] = ("read in float16, computed in float32",)) -> Report:
    """A report on the groups, or on one of twelve blocks."""
    return Report("net.safetensors", groups or (group(),), tuple(notes))


def group(
    name: str = "encoder.layer",
    depth: int = 12,
    *,
    weights: str = "rough",
    function: str = "undecided",
    batch: bool = False,
    seed: int = 0,
) -> GroupReport:
    """A group of blocks of a transformer, or of convolutions where its name begins with `layer`."""
    random = np.random.default_rng(seed)
    roles = CONVOLUTIONS if name.startswith("layer") else ROLES
    profiles = tuple(
        _profile(random, depth=depth, name=role, part=part, view=view, shape=shape) for role, part, view, shape in roles
    )
    kinds = KINDS[: 2 + seed % 7]
    return GroupReport(
        name,
        tuple(f"{name}.{k}" for k in range(depth)),
        384,
        Verdict(weights, REASON, "more blocks, or the weights of a wider network", _evidence(random)),
        Verdict(function, "with a batch, the stream would be known" if not batch else REASON, "a batch of inputs"),
        profiles,
        _passage(random, depth) if batch else None,
        tuple(_finding(kind, profiles, depth=depth, place=i) for i, kind in enumerate(kinds)),
        (
            Consequence("tie", "no", "the order of the blocks matters (p = 0.0025)"),
            Consequence("interpolate", "no", "weights are rough over depth: the mean of two neighbours is neither"),
            Consequence("skip", "cannot tell", "a batch of inputs is missing"),
            Consequence("deepen", "no", "weights are rough over depth"),
            Consequence("prune", "yes", "block 5 adds nothing to the stream"),
        ),
        (LeftOut("pooler.dense.weight", "stands outside the blocks"),),
    )


def _profile(
    random: np.random.Generator, *, depth: int, name: str, part: Part, view: View, shape: tuple[int, ...]
) -> Profile:
    size = float(random.uniform(0.5, 40))
    norm = size * np.exp(0.1 * np.cumsum(random.standard_normal(depth)))
    curves = {
        "norm": norm,
        "operator_norm": norm * random.uniform(0.1, 0.3),
        "stable_rank": random.uniform(5, 50, depth),
        "increment": norm[1:] * random.uniform(0.2, 1.2, depth - 1),
    }
    if len(shape) == 1:
        del curves["operator_norm"], curves["stable_rank"]
    label = ("smooth", "rough", "no order", "undecided")[int(random.integers(4))]
    middle = float(random.uniform(0.1, 1.2))
    roughness = None if label == "undecided" else Measured(middle, middle - 0.08, middle + 0.07, 100)
    order = Smoothness(label, float(random.uniform(0.1, 2)), float(random.uniform(0.0025, 0.2)), roughness)  # type: ignore[arg-type]
    numbers = {"carriers": float(random.uniform(1, depth)), "noise_share": float(random.uniform())}
    return Profile(
        name, part, view, shape, {key: tuple(map(float, curve)) for key, curve in curves.items()}, order, numbers
    )


def _evidence(random: np.random.Generator) -> dict[str, Measured]:
    names = ("mlp: order ratio", "mlp: roughness", "attention.scores: order ratio", "attention.scores: roughness")
    return {name: Measured(x := float(random.uniform(0.1, 1)), x - 0.1, x + 0.1, 8, "pooled") for name in names}


def _passage(random: np.random.Generator, depth: int) -> Passage:
    curves = {
        "stream_norm": np.cumsum(random.uniform(0.5, 1.5, depth + 1)),
        "update_norm": random.uniform(0.5, 1.5, depth),
        "update_ratio": random.uniform(0.05, 0.9, depth),
        "gain": random.uniform(0.9, 1.2, depth),
        "branch_gain": random.uniform(0.1, 0.9, depth),
        "removal": random.uniform(0.0, 0.3, depth),
        "tail": np.linspace(1.0, 0.1, depth),
        "alignment": random.uniform(-0.2, 0.6, depth - 1),
    }
    numbers = (
        "drift_share", "drift", "local_drift", "variation", "variation_exponent", "hurst", "halving_defect", "largest_share",
        "displacement", "path_length", "growth", "residual_share", "effective_depth",
    )  # fmt: skip
    return Passage(
        64,
        {name: tuple(map(float, curve)) for name, curve in curves.items()},
        {name: Measured(x := float(random.uniform(0.2, 1)), x - 0.1, x + 0.1, 64) for name in numbers},
    )


def _finding(kind: FindingKind, profiles: Sequence[Profile], *, depth: int, place: int) -> Finding:
    block = (5 + 3 * place) % (depth - 1)
    blocks = (block, block + 1) if kind == "tied" else (block,)
    role = profiles[place % len(profiles)].name
    return Finding(kind, blocks, role, f"its norm is {0.01 * (place + 1):.2g} of the median of the others", 1.5 + place)


def scaled(found: Report, factor: float, *, block: int) -> Report:
    """The same report with the norms of one block multiplied."""
    return replace(found, groups=tuple(replace(g, profiles=_scaled(g, factor, block)) for g in found.groups))


def _scaled(found: GroupReport, factor: float, block: int) -> tuple[Profile, ...]:
    def norms(profile: Profile) -> tuple[float, ...]:
        return tuple(x * (factor if k == block else 1) for k, x in enumerate(profile.curves["norm"]))

    return tuple(replace(p, curves={**p.curves, "norm": norms(p)}) for p in found.profiles)
