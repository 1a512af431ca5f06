"""Trained networks whose limit theory knows: independent layers that average out, equal layers that do not, and a diffusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.branches import GELU, Perceptron
from deeplimit.claims import Claim, Measured
from deeplimit.data import FixedPairs, OscillatingFlow
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.networks import ResidualStack
from deeplimit.papers.reconciliation.family import Family, says, summary, verdict
from deeplimit.processes import IID, Normal, Process, Tied, Zero
from deeplimit.records import Task
from deeplimit.scaling import DepthScaling, MeanFieldScaling
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import SGD, EpochStop, SquaredError, TrainingRun

if TYPE_CHECKING:
    import polars as pl

STATE = 8
SEEDS = tuple(range(10))
WIDE, NARROW = 32, 4
DEPTHS = Tiered(quick=(32, 64, 128, 256), paper=(32, 64, 128, 256, 512))
SAMPLES = 32
ITERATIONS = Tiered(quick=300, paper=1500)
FLOW = 7.0
"""Training time of one iteration; the rate is this times L M."""
BELOW = 1e-3


def mean_field(depth: int, *, width: int, init: Process) -> ResidualStack:
    """h + V σ(W h) / (L M) with V = 0 at the start."""
    scaling = MeanFieldScaling(width=width)
    branch = Perceptron(STATE, width, GELU(), normalised=False)
    return ResidualStack(branch, depth, scaling=scaling, init={"V": Zero(), "W": init})


def diffusion(depth: int) -> ResidualStack:
    """h + V σ(W h / √q) / √(m L) with independent V and W."""
    return ResidualStack(Perceptron(STATE, WIDE, GELU()), depth, scaling=DepthScaling(0.5), init=IID())


def _family(network: Callable[[int], ResidualStack], settings: Settings, *, optimizer: SGD, name: str) -> Family:
    runs = tuple(
        TrainingRun(
            networks=(network(depth),),
            data=FixedPairs(OscillatingFlow(SAMPLES, STATE)),
            optimizer=optimizer,
            iterations=settings.pick(ITERATIONS),
            measures=(),
            seeds=SEEDS,
            loss=SquaredError(per_entry=True),
            dtype="float32",
            stop=EpochStop(BELOW, patience=10**6),
        )
        for depth in settings.pick(DEPTHS)
    )
    return Family(runs, OscillatingFlow(16, STATE), {"network": name})


def _tasks(settings: Settings) -> Iterator[Task]:
    normal = Normal(STATE**-0.5)
    for width in (NARROW, WIDE):
        for name, init in (("independent", IID(normal)), ("tied", Tied(normal))):
            yield _family(
                lambda depth, width=width, init=init: mean_field(depth, width=width, init=init),  # type: ignore[misc]
                settings,
                optimizer=SGD(FLOW * width, layer_factor=True),
                name=f"{name}, M = {width}",
            )
    yield _family(diffusion, settings, optimizer=SGD(FLOW), name="independent, 1/√L")


AVERAGED, EQUAL, DIFFUSED = f"independent, M = {WIDE}", f"tied, M = {WIDE}", "independent, 1/√L"


def slope(name: str, *, network: str, stage: str = "after") -> Callable[[pl.DataFrame], Measured]:
    """The measure of a slope in log L of the function, with its interval over seeds."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        own = rows.filter(
            (pl.col("quantity") == f"slope.{name}") & (pl.col("network") == network) & (pl.col("stage") == stage)
        )
        if own.is_empty():
            raise LookupError(f"no slope of {name} for {network}")
        value, low, high = own.select("value", "low", "high").row(0)
        return Measured(value, low, high, len(SEEDS), f"slope in log L over seeds, {network}")

    return measure


def labelled(quantity: str, *, network: str, expected: str, stage: str = "after") -> Callable[[pl.DataFrame], Measured]:
    """The measure that is 1 where a verdict is the expected one: of the function, or of the roughest weights."""

    def reading(rows: pl.DataFrame) -> str:
        found = verdict(rows, quantity, stage=stage, network=network)
        return found[0] if quantity == "function" else summary(found)

    return says(reading, expected, seeds=SEEDS)


def _verdict_claim(name: str, statement: str, *, quantity: str, network: str, expected: str) -> Claim:
    return Claim(
        f"reconciliation.known.{name}",
        statement,
        "Chizat 2025 (arXiv 2509.10167); Marion et al. 2024, Theorem 4",
        f"1 where the verdict on trained networks is {expected}",
        labelled(quantity, network=network, expected=expected),
        expected=1.0,
        tolerance=0.0,
        source="theorem",
        minimum_sample=5,
    )


CLAIMS = (
    Claim(
        "reconciliation.known.averaging",
        "Independent layers average out: the spread of trained outputs over seeds falls as (L M)^(−1/2) for L M ≥ 1000.",
        "Chizat 2025 (arXiv 2509.10167)",
        "exponent in L of the spread at M = 32, L ≥ 32",
        slope("spread", network=AVERAGED),
        expected=-0.5,
        tolerance=0.1,
        source="theorem",
        minimum_sample=5,
    ),
    Claim(
        "reconciliation.known.no-averaging",
        "Equal layers at the start do not: the spread stays, whatever the depth.",
        "Marion et al. 2024, Theorem 4",
        "exponent in L of the spread at M = 32, L ≥ 32, equal layers",
        slope("spread", network=EQUAL),
        expected=0.0,
        tolerance=0.1,
        source="theorem",
        minimum_sample=5,
    ),
    _verdict_claim(
        "mean-ode",
        "They are labelled as what they are: an ODE of the mean.",
        quantity="function",
        network=AVERAGED,
        expected="mean ODE",
    ),
    _verdict_claim(
        "rough",
        "Their weights stay as rough after training as white noise.",
        quantity="weights",
        network=AVERAGED,
        expected="i.i.d.-like",
    ),
    _verdict_claim(
        "tied", "Equal layers are labelled a neural ODE.", quantity="function", network=EQUAL, expected="neural ODE"
    ),
    _verdict_claim(
        "smooth",
        "Their trained weights are smooth over depth.",
        quantity="weights",
        network=EQUAL,
        expected="hypothesis 1",
    ),
    _verdict_claim(
        "sde",
        "Trained networks with independent layers and the factor 1/√L follow an SDE, with GELU too.",
        quantity="function",
        network=DIFFUSED,
        expected="SDE",
    ),
)


def _curves(rows: pl.DataFrame, quantity: str, stage: str = "after") -> list[tuple[str, list[float], list[float]]]:
    """Network, L M (or L) and mean value by depth."""
    import polars as pl

    found = []
    own = rows.filter((pl.col("quantity") == quantity) & (pl.col("stage") == stage))
    for (network,), part in own.group_by("network", maintain_order=True):
        means = part.group_by("depth").agg(pl.col("value").mean()).sort("depth")
        found.append((str(network), [float(depth) for depth in means["depth"]], means["value"].to_list()))
    return found


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Spread against L M, and loss."""
    spreads = []
    for network, depths, values in _curves(rows, "spread"):
        width = int(network.rpartition("= ")[2]) if "M" in network else WIDE
        spreads.append(Curve([depth * width for depth in depths], values, network))
    guide = Curve([300.0, 8000.0], [0.5 * x**-0.5 for x in (300.0, 8000.0)], "(L M)^(−1/2)", style="dotted")
    losses = [Curve(depths, values, network) for network, depths, values in _curves(rows, "loss")]
    return [
        Panel([*spreads, guide], "L M", "spread of outputs over seeds", "trained", xscale="log", yscale="log"),
        Panel(losses, "depth L", "loss", "trained", xscale="log", yscale="log"),
    ]


KNOWN = Study(
    "known-limits",
    title="Trained networks whose limit is known",
    text=(
        "With V = 0, independent W and the factor 1/(L M), gradient descent at a rate that grows as L M has the ODE of the mean as its"
        " limit: weights stay rough, and outputs of different draws approach each other. From equal layers weights become smooth and"
        " outputs remain those of the draw. With the factor 1/√L and independent layers the states are a diffusion, before training and"
        " after it: a case that neither Cohen et al. nor Marion et al. show for trained networks."
    ),
    tasks=_tasks,
    figures=(
        Figure(
            "known-limits",
            "Rough weights, one function",
            "Spread of trained outputs over ten seeds, beside their size, against L M. Independent layers average out at the rate of the"
            " dotted line; equal layers and the diffusion do not. Right: the loss reached.",
            _panels,
        ),
    ),
    claims=CLAIMS,
)

STUDIES = (KNOWN,)
