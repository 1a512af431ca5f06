"""Initialisation and gradients: consistency with the neural ODE, the zero branch, the factor L (rows 1, 2 and 3 of the checklist)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.branches import Perceptron, Tanh
from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs, Pairs, SpherePairs
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import LayerGradients
from deeplimit.networks import Initialisation, LastCoordinates, Padding, ResidualStack
from deeplimit.papers.marion2024.common import only
from deeplimit.processes import GaussianProcess, Process
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study
from deeplimit.training import GradientFlow, SquaredError, checksum, draw_members
from deeplimit.training.run import SAMPLED

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters
    from deeplimit.training.step import Batch

INPUTS, OUTPUTS, STATE, WIDTH = 4, 4, 8, 16
"""d, d′, q and m of the runs on the theory: q = d + d′, the least for which V = 0 gives F = 0."""

SMOOTH = GaussianProcess(length=0.5)
"""The smooth initialisation of section 4.3; the paper gives no length scale, this is half of the depth."""

DEPTHS = (16, 32, 64, 128, 256, 512, 1024)
REPLICATES = 4


def theory_network(depth: int, init: Initialisation | Process | Mapping[str, Process] | None = None) -> ResidualStack:
    """Model (3) within the assumptions of section 2: tanh, factors 1/√m and 1/√q, A and B as in section 3, both trained.

    Args:
        depth: L.
        init: None for the paper's V = 0 and W tied.
    """
    return ResidualStack(
        Perceptron(STATE, WIDTH, Tanh()),
        depth,
        init=init,
        embedding=Padding(INPUTS, STATE),
        readout=LastCoordinates(STATE, OUTPUTS),
    )


def seconds_for(task: Task, sample: Task, *, context: Context) -> float:
    """Seconds to expect for a task, from the second run of a small sample of it with a few members, in proportion to their costs."""
    seeds = getattr(sample, "seeds", ())
    if len(seeds) > SAMPLED:
        sample = dataclasses.replace(sample, seeds=seeds[:SAMPLED])  # type: ignore[type-var]
    quiet = Context(engine=context.engine, device=context.device, threads=context.threads)
    for _ in sample.run(quiet):
        pass
    start = time.perf_counter()
    for _ in sample.run(quiet):
        pass
    return (time.perf_counter() - start) * task.cost().layer_steps / sample.cost().layer_steps


def in_depth(quantity: str, **columns: object) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the exponent in depth of a quantity, over the rows with these values of other columns."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(rows, quantity=quantity, **columns))

    return measure


def seed_band(rows: pl.DataFrame, x: str, *, label: str) -> Curve:
    """The mean over seeds against x, with the range over seeds as band."""
    import polars as pl

    value = pl.col("value")
    table = rows.group_by(x).agg(value.mean(), value.min().alias("low"), value.max().alias("high")).sort(x)
    columns = {name: table[name].to_list() for name in (x, "value", "low", "high")}
    return Curve(columns[x], columns["value"], label, low=columns["low"], high=columns["high"])


def guide(curve: Curve, slope: float, *, factor: float = 1.0) -> Curve:
    """A dotted power law through the first point of a curve, shifted by a factor."""
    first = curve.x[0]
    y = [factor * curve.y[0] * (x / first) ** slope for x in curve.x]
    return Curve(curve.x, y, label=f"slope {slope:g}", style="dotted")


# ------------------------------------------------------------------------------------- row 1: consistency with the ODE


@dataclass(frozen=True)
class OdeConsistency:
    """Networks that read one path of weights at growing depth, against the neural ODE of that path (Prop. 2; Prop. 11).

    Rows: `error.outputs`, max over samples of ‖F(x) − F^L(x)‖; `error.states`, max over samples and k of ‖H(k/L) − h_k‖;
    `reference.error`, the estimated error of the solution of the ODE.

    Args:
        network: its depth plays no part.
        data: the points x over which the supremum is taken.
        depths: L, powers of 2.
        seeds: one path of weights each.
        tolerance: of the solution of the ODE.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    network: ResidualStack
    data: Pairs
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    tolerance: float = 1e-9
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Solve the ODE, then evaluate each network."""
        from deeplimit.engines import select
        from deeplimit.limits import initial, solve_within, stack, together

        context.provenance["engine"] = select(context.engine, self.network.branch).title
        weights = together([initial(self.network, seed) for seed in self.seeds])
        _, batch = draw_members(self.network.at_depth(1), self.data, seeds=self.seeds)
        context.provenance["data"], x = checksum(batch), batch[0]
        solution = solve_within(self.network, weights, x=x, tolerance=self.tolerance, steps=max(self.depths))
        yield {"quantity": "reference.error", "value": solution.error}
        for depth in self.depths:
            network = self.network.at_depth(depth)
            params = stack(network, weights)
            states = network.states(params, x, engine=context.engine) - solution.every(depth)
            outputs = network(params, x, engine=context.engine) - solution.outputs
            yield from self._rows(states.norm(dim=3).amax((0, 2)), "error.states", depth=depth)
            yield from self._rows(outputs.norm(dim=2).amax(1), "error.outputs", depth=depth)

    def cost(self) -> Cost:
        """Layers of the networks, and four evaluations a step of the reference at two step sizes."""
        points = len(self.seeds) * (sum(self.depths) + 12 * max(self.depths))
        # The reference holds its states at the steps of the deepest network, and some copies of them.
        states = len(self.seeds) * max(self.depths) * getattr(self.data, "samples", 1) * STATE
        return Cost(points, 64.0 * states, 1e5)

    def probe(self, context: Context) -> float:
        """From the same at depth 16."""
        return seconds_for(self, dataclasses.replace(self, depths=(16,), tolerance=1.0), context=context)

    def _rows(self, values: Tensor, quantity: str, *, depth: int) -> Iterator[Row]:
        for seed, value in zip(self.seeds, values.tolist(), strict=True):
            yield {"depth": depth, "seed": seed, "quantity": quantity, "value": value}


def _consistency_tasks(settings: Settings) -> Iterator[Task]:
    data = SpherePairs(128, INPUTS, OUTPUTS, radius=math.sqrt(STATE))
    yield OdeConsistency(theory_network(1, SMOOTH), data, DEPTHS, settings.seeds(0))


def _consistency_panels(rows: pl.DataFrame) -> list[Panel]:
    """Both errors against depth: one faint curve per seed, their mean, and the slope −1."""
    titles = {"error.outputs": "outputs", "error.states": "all hidden states"}
    return [_error_panel(only(rows, quantity=quantity), title) for quantity, title in titles.items()]


def _error_panel(rows: pl.DataFrame, title: str) -> Panel:
    mean = seed_band(rows, "depth", label="mean and range over seeds")
    return Panel(
        [mean, guide(mean, -1.0, factor=0.7)],
        xlabel="depth L",
        ylabel="largest distance to the neural ODE",
        title=title,
        xscale="log",
        yscale="log",
    )


def _consistency_claim(name: str, statement: str, *, where: str, quantity: str) -> Claim:
    return Claim(
        f"marion2024.1.{name}",
        statement,
        where,
        f"exponent in L of {quantity}, L = 16…1024",
        in_depth(f"error.{name}"),
        expected=-1.0,
        tolerance=0.1,
        source="theorem",
        minimum_sample=5,
    )


CONSISTENCY = Study(
    "ode-consistency",
    title="Networks with Lipschitz weights tend to the neural ODE",
    text=(
        "One path of weights over depth, V and W drawn from the Gaussian process of section 4.3 (length scale 1/2, tanh), is"
        " read by networks of depth 16 to 1024, and the neural ODE with the same weights is solved to nine digits."
        " The supremum over x is a maximum over 128 points of the sphere of radius √q."
    ),
    tasks=_consistency_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "ode-consistency",
            "Distance to the neural ODE",
            "Outputs and hidden states of the network approach the neural ODE with the same weights like 1/L.",
            _consistency_panels,
        ),
    ),
    claims=(
        _consistency_claim(
            "outputs",
            "With weights that are Lipschitz in depth the network's output converges to the neural ODE's at rate 1/L.",
            where="Prop. 2",
            quantity="max over x of ‖F(x) − F^L(x)‖",
        ),
        _consistency_claim(
            "states",
            "So do all its hidden states, uniformly over depth.",
            where="Prop. 11 (Euler consistency)",
            quantity="max over x, k of ‖H(k/L) − h_k‖",
        ),
    ),
)


# ------------------------------------------------------------------------------------------------ row 2: the zero branch


@dataclass(frozen=True)
class ZeroBranch:
    """What networks with V = 0 do at initialisation, in every engine that runs their branch (section 3; Theorem 6).

    Rows, with a column `engine`: `start.states`, max over samples and k of ‖h_k − h_0‖; `start.outputs`, max over samples of
    ‖F(x)‖; `start.loss`, the distance of the loss from that of the output 0, (1/n) Σ ‖y_i‖².

    Args:
        network: its depth plays no part.
        data: the pairs.
        depths: L.
        seeds: draws of weights and data.
        dtype: precision.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    network: ResidualStack
    data: Pairs
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    dtype: str = "float64"
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Evaluate every network in every engine."""
        from deeplimit.engines import ENGINES

        engines = sorted(name for name, engine in ENGINES.items() if engine.supports(self.network.branch))
        context.provenance["engine"] = ", ".join(engines)
        for depth, engine in itertools.product(self.depths, engines):
            network = self.network.at_depth(depth)
            params, batch = draw_members(network, self.data, seeds=self.seeds, dtype=self.dtype)
            context.provenance["data"] = checksum(batch)
            found = _start(network, params, batch=batch, engine=engine)
            for quantity, (seed, value) in (
                (q, pair) for q, v in found.items() for pair in zip(self.seeds, v, strict=True)
            ):
                yield {"depth": depth, "seed": seed, "quantity": quantity, "value": value, "engine": engine}

    def cost(self) -> Cost:
        """Two forward passes in each of two engines."""
        return Cost(4.0 * len(self.seeds) * sum(self.depths), 1e7, 1e5)

    def probe(self, context: Context) -> float:
        """From the same at depth 16."""
        return seconds_for(self, dataclasses.replace(self, depths=(16,)), context=context)


def _start(network: ResidualStack, params: Parameters, *, batch: Batch, engine: str) -> dict[str, list[float]]:
    """The three numbers of a `ZeroBranch`, one value per seed each."""
    x, y = batch
    states, output, loss = network.states(params, x, engine=engine), network(params, x, engine=engine), SquaredError()
    found = {
        "start.states": (states - states[0]).norm(dim=3).amax((0, 2)),
        "start.outputs": output.norm(dim=2).amax(1),
        "start.loss": (loss(output, y) - loss(y.new_zeros(y.shape), y)).abs(),
    }
    return {quantity: values.tolist() for quantity, values in found.items()}


def _zero_tasks(settings: Settings) -> Iterator[Task]:
    data = GaussianPairs(16, INPUTS, OUTPUTS)
    for dtype in settings.dtypes:
        yield ZeroBranch(theory_network(1), data, (16, 1024), settings.seeds(0), dtype=dtype, labels={"dtype": dtype})


def _exactly(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The largest value over depths and seeds, with its range over precisions and engines."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        largest = (
            only(rows, quantity=quantity).group_by("dtype", "engine", maintain_order=True).agg(pl.col("value").max())
        )
        return Measured.spread(largest["value"].to_list(), "range over precisions and engines")

    return measure


def _zero_claim(name: str, statement: str, *, quantity: str) -> Claim:
    return Claim(
        f"marion2024.2.{name}",
        statement,
        "section 3 (initialisation)",
        quantity,
        _exactly(f"start.{name}"),
        expected=0.0,
        tolerance=0.0,
        source="derived",
    )


ZERO_BRANCH = Study(
    "zero-branch",
    title="With V = 0 the network starts at the trivial ODE",
    text="The network of section 3 at initialisation, at depth 16 and 1024, in two precisions and in every engine. All is exact.",
    tasks=_zero_tasks,
    replicates=REPLICATES,
    dtypes=("float64", "float32"),
    claims=(
        _zero_claim(
            "states", "With V = 0 every hidden state is the first one.", quantity="max over x, k of ‖h_k − h_0‖"
        ),
        _zero_claim("outputs", "With q ≥ d + d′ the output is then 0.", quantity="max over x of ‖F(x)‖"),
        _zero_claim(
            "loss",
            "The initial loss is then the mean of ‖y‖².",
            quantity="distance of the loss from (1/n) Σ ‖y_i‖²",
        ),
    ),
)


# -------------------------------------------------------------------------------------------- row 3: the factor L


def _smooth_network(depth: int) -> ResidualStack:
    return theory_network(depth, SMOOTH)


def _gradient_variation(rows: pl.DataFrame) -> Measured:
    """Largest over matrices and positions of max/min over depths − 1, and its range over seeds."""
    import polars as pl

    value = pl.col("value")
    gradients = pl.concat([only(rows, quantity=f"gradient.{role}") for role in ("V", "W")])
    # A group that lacks a depth would hide a variation.
    if gradients.group_by("quantity", "index", "seed").len()["len"].unique().to_list() != [len(DEPTHS)]:
        raise LookupError("some seeds or positions lack a depth")
    each = gradients.group_by("quantity", "index", "seed").agg(value.max() / value.min() - 1)
    seeds = each.group_by("seed").agg(value.max())["value"].to_list()
    return Measured(max(seeds), min(seeds), max(seeds), len(seeds), "largest over seeds, range over seeds")


GRADIENTS = Study(
    "gradient-scale",
    title="The gradient of one layer is of order 1/L",
    text=(
        "Gradients of the loss at a smooth initialisation: with V = 0 those of W would vanish, so V and W are both drawn from the"
        " Gaussian process. L ‖∂ℓ/∂Z_k‖_F at s = k/L = 1/4, 1/2 and 1 tends to a limit, which is why the flow (4) has a factor L"
        " on the layers, and on nothing else."
    ),
    grid={"depth": DEPTHS},
    replicates=REPLICATES,
    network=_smooth_network,
    data=GaussianPairs(16, INPUTS, OUTPUTS),
    optimizer=GradientFlow(0.05),
    iterations=0,
    measures=(LayerGradients(),),
    claims=(
        Claim(
            "marion2024.3.gradients",
            "L times the gradient of the layer at a fixed relative depth does not depend on L.",
            "section 3, equation (4)",
            "largest relative variation over L = 16…1024 of L ‖∂ℓ/∂V_k‖_F and L ‖∂ℓ/∂W_k‖_F at s = 1/4, 1/2, 1",
            _gradient_variation,
            expected=0.1,
            tolerance=0.0,
            source="derived",
            relation="at most",
            minimum_sample=5,
        ),
    ),
)

STUDIES = (CONSISTENCY, ZERO_BRANCH, GRADIENTS)
