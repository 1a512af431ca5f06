"""From the setting of Cohen et al. 2021 to that of Marion et al. 2024, one factor at a time, with both verdicts at each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deeplimit.branches import GELU, OneMatrix, Perceptron, ReLU, Tanh
from deeplimit.claims import Claim
from deeplimit.data import FixedPairs, OscillatingFlow
from deeplimit.figures import Figure, Matrix
from deeplimit.networks import ResidualStack
from deeplimit.papers.reconciliation.family import Family, says, summary, verdict
from deeplimit.processes import (
    IID,
    Constant,
    DepthScaled,
    FractionalBrownianMotion,
    GaussianProcess,
    Normal,
    Tied,
    Zero,
)
from deeplimit.records import Task
from deeplimit.scaling import DepthScaling
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import SGD, Adam, Batches, EpochStop, Optimizer, SquaredError, TrainingRun

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.processes import Process

STATE, WIDTH = 10, 20
DEPTHS = Tiered(quick=(16, 32, 64, 128), paper=(16, 32, 64, 128, 256, 512))
SAMPLES = Tiered(quick=64, paper=128)
ITERATIONS = Tiered(quick=1200, paper=2000)
SEEDS = tuple(range(6))
BELOW = 1e-3
"""Training stops at this loss, as that of Cohen et al. does."""
SHALLOW = 16
"""A learning rate that does not grow with depth is that of this depth."""


@dataclass(frozen=True)
class Setting:
    """One way to set up and train a network; the defaults are those of Cohen et al. 2021, with tanh and a shared δ.

    Args:
        branch: `one` matrix δ σ(A h + b), or `two`, V σ(W h / √q) / √m.
        delta: δ `trained` from 1/L, or `fixed` at L^(−beta).
        method: `adam` and `sgd` on mini-batches of 32, or `gd` on all data.
        times_depth: whether the learning rate of layers grows as L.
        init: `small` (independent, of size 1/L), `iid`, `rough` (fractional Brownian, H = 0.3), `smooth` (a Gaussian process) or `tied`.
            With two matrices V = 0 unless `beta` is below 1.
        activation: σ.
        weight_decay: λ in the convention (λ/2) ‖θ‖², added to the gradient.
        beta: exponent of a fixed δ.
    """

    branch: Literal["one", "two"] = "one"
    delta: Literal["trained", "fixed"] = "trained"
    method: Literal["adam", "sgd", "gd"] = "adam"
    times_depth: bool = False
    init: Literal["small", "iid", "rough", "smooth", "tied"] = "small"
    activation: Literal["tanh", "gelu", "relu"] = "tanh"
    weight_decay: float = 0.0
    beta: float = 1.0

    def network(self, depth: int) -> ResidualStack:
        """The network of this setting."""
        sigma = {"tanh": Tanh(), "gelu": GELU(), "relu": ReLU()}[self.activation]
        scaling = DepthScaling(0.0 if self.delta == "trained" else self.beta)
        if self.branch == "two":
            outer: Process = Zero() if self.beta == 1.0 else self._process(1.0)
            init: dict[str, Process] = {"V": outer, "W": self._process(1.0)}
            return ResidualStack(Perceptron(STATE, WIDTH, sigma), depth, scaling=scaling, init=init)
        kind: Literal["fixed", "shared", "layer"] = "fixed"
        init = {"A": self._process(STATE**-0.5), "b": self._process(STATE**-0.5)}
        if self.delta == "trained":
            # A kink makes the size of σ's argument and δ one thing: as in the released code ReLU has a δ per layer, drawn.
            kind = "layer" if self.activation == "relu" else "shared"
            init["delta"] = DepthScaled(IID() if kind == "layer" else Constant(1.0))
        if self.init == "small":
            init |= {"A": DepthScaled(IID(Normal(0.01 / STATE))), "b": DepthScaled(IID(Normal(0.01 / STATE**0.5)))}
        return ResidualStack(OneMatrix(STATE, sigma, delta=kind), depth, scaling=scaling, init=init)

    def optimizer(self, depth: int) -> Optimizer:
        """The optimiser, at a learning rate at which the setting trains."""
        # A layer's gradient falls as 1/L where δ is fixed; L2 beside it does too, or it would be all that is left.
        decay = self.weight_decay / depth if self.delta == "fixed" else self.weight_decay
        if self.method == "adam":
            rate = 1e-2 / SHALLOW if self.times_depth else 1e-2
            return Adam(rate, weight_decay=decay, layer_factor=self.times_depth)
        flow = 4.0 if self.branch == "two" else 2.0  # training time of one iteration
        if self.delta == "trained":  # a parameter of all layers together, which needs small steps
            return SGD(0.1 / SHALLOW if self.times_depth else 0.1, weight_decay=decay, layer_factor=self.times_depth)
        steady = flow * SHALLOW if self.beta == 1.0 else flow
        return SGD(flow if self.times_depth else steady, weight_decay=decay, layer_factor=self.times_depth)

    def batches(self) -> Batches | None:
        """Mini-batches of 32, or all data."""
        return None if self.method == "gd" else Batches(32)

    def _process(self, std: float) -> Process:
        normal = Normal(std)
        processes: dict[str, Process] = {
            "small": IID(normal),
            "iid": IID(normal),
            "rough": FractionalBrownianMotion(0.3, std=std),
            "smooth": GaussianProcess(0.3, std=std),
            "tied": Tied(normal),
        }
        return processes[self.init]


COHEN = Setting()
MARION = Setting("two", "fixed", "gd", times_depth=True, init="tied", activation="gelu")

#: Every row changes the row above by the one factor that it names.
PATH: dict[str, Setting] = {"Cohen et al. 2021": COHEN}
for _name, _change in (
    ("δ fixed at 1/L", {"delta": "fixed"}),
    ("gradient descent", {"method": "gd"}),
    ("learning rate × L", {"times_depth": True}),
    ("equal layers at the start", {"init": "tied"}),
    ("two matrices, V = 0", {"branch": "two"}),
    ("GELU: Marion et al. 2024", {"activation": "gelu"}),
):
    PATH[_name] = dataclasses.replace(list(PATH.values())[-1], **_change)

#: One factor changed in the first setting, and in the last.
FROM_COHEN: dict[str, Setting] = {
    name: dataclasses.replace(COHEN, **change)  # type: ignore[arg-type]
    for name, change in {
        "SGD": {"method": "sgd"},
        "gradient descent": {"method": "gd"},
        "learning rate × L": {"times_depth": True},
        "independent, size 1": {"init": "iid"},
        "smooth": {"init": "smooth"},
        "equal layers": {"init": "tied"},
        "ReLU, δ per layer": {"activation": "relu"},
        "GELU": {"activation": "gelu"},
        "L2": {"weight_decay": 1e-4},
    }.items()
}
FROM_MARION: dict[str, Setting] = {
    name: dataclasses.replace(MARION, **change)  # type: ignore[arg-type]
    for name, change in {
        "one matrix": {"branch": "one"},
        "Adam": {"method": "adam", "times_depth": False},
        "SGD": {"method": "sgd"},
        "learning rate not × L": {"times_depth": False},
        "independent": {"init": "iid"},
        "rough path, H = 0.3": {"init": "rough"},
        "smooth": {"init": "smooth"},
        "ReLU": {"activation": "relu"},
        "tanh": {"activation": "tanh"},
        "L2": {"weight_decay": 1e-4},
        "independent, 1/√L, rate not × L": {"init": "iid", "beta": 0.5, "times_depth": False},
    }.items()
}
GROUPS = {"path": PATH, "from Cohen": FROM_COHEN, "from Marion": FROM_MARION}


def family(setting: Setting, settings: Settings, **labels: str | int | float) -> Family:
    """A setting as a family of networks to train and judge."""
    samples = settings.pick(SAMPLES)
    runs = tuple(
        TrainingRun(
            networks=(setting.network(depth),),
            data=FixedPairs(OscillatingFlow(samples, STATE)),
            optimizer=setting.optimizer(depth),
            iterations=settings.pick(ITERATIONS),
            measures=(),
            seeds=SEEDS,
            loss=SquaredError(per_entry=True),
            dtype="float32",
            batches=setting.batches(),
            stop=EpochStop(BELOW, patience=10**6),
        )
        for depth in settings.pick(DEPTHS)
    )
    return Family(runs, OscillatingFlow(16, STATE), labels)


def _tasks(settings: Settings) -> Iterator[Task]:
    for group, members in GROUPS.items():
        for step, setting in members.items():
            yield family(setting, settings, group=group, step=step)


MATRICES = ("A", "V", "W")


def weights_of(rows: pl.DataFrame, group: str, *, step: str, stage: str = "after") -> str:
    """One verdict on the matrices of a step: that of the roughest role."""
    import polars as pl

    own = rows.filter(pl.col("role").is_in(MATRICES))
    return summary(verdict(own, "weights", stage=stage, group=group, step=step))


def function_of(rows: pl.DataFrame, group: str, *, step: str) -> str:
    """The verdict on the function of a step."""
    return verdict(rows, "function", group=group, step=step)[0]


def _claim(
    name: str,
    statement: str,
    reading: Callable[[pl.DataFrame], str],
    *expected: str,
    tiers: tuple[str, ...] = ("quick", "paper"),
) -> Claim:
    return Claim(
        f"reconciliation.walk.{name}",
        statement,
        "Cohen et al. 2021, section 4; Marion et al. 2024, section 4",
        f"1 where the verdict is {' or '.join(expected)}",
        says(reading, *expected, seeds=SEEDS),
        expected=1.0,
        tolerance=0.0,
        source="measured",
        tiers=tiers,
        minimum_sample=5,
    )


FIRST, SECOND, *_, LAST = PATH


def _same_on_the_rest(rows: pl.DataFrame) -> str:
    """The verdict on the function that all steps from the fourth on share; `undecided` where one abstains."""
    found = {function_of(rows, "path", step=step) for step in list(PATH)[3:]}
    return found.pop() if len(found) == 1 else "undecided" if "undecided" in found else " and ".join(sorted(found))


CLAIMS = (
    _claim(
        "start",
        "In the setting of Cohen et al. 2021 only σ′(0) survives: the network follows the linear ODE, α + β = 1 with α < 1.",
        lambda rows: function_of(rows, "path", step=FIRST),
        "linear ODE",
    ),
    _claim(
        "end-function",
        "In the setting of Marion et al. 2024 the trained network follows a neural ODE.",
        lambda rows: function_of(rows, "path", step=LAST),
        "neural ODE",
    ),
    _claim(
        "end-weights",
        "In the setting of Marion et al. 2024 trained weights have a limit as functions of depth.",
        lambda rows: weights_of(rows, "path", step=LAST),
        "hypothesis 1",
    ),
    _claim(
        "delta",
        "Fixing δ at 1/L, and nothing else, turns the linear ODE of Cohen et al. into a neural ODE.",
        lambda rows: function_of(rows, "path", step=SECOND),
        "neural ODE",
    ),
    _claim(
        "rate",
        "In the setting of Marion et al. a rate that does not grow with depth leaves deep networks where they start: in a fixed number of"
        " iterations the limit is the identity.",
        lambda rows: function_of(rows, "from Marion", step="learning rate not × L"),
        "identity",
    ),
    _claim(
        "rest",
        "From gradient descent at a rate that grows as L on, no factor on the way to Marion et al. changes that.",
        _same_on_the_rest,
        "neural ODE",
    ),
    _claim(
        "smooth-start",
        "With a trained δ, weights that start smooth and of size 1 give a neural ODE as well: small independent weights are half of the"
        " reason for the linear ODE.",
        lambda rows: function_of(rows, "from Cohen", step="smooth"),
        "neural ODE",
    ),
    _claim(
        "optimiser",
        "With a trained δ the verdict does not depend on the optimiser: plain SGD gives the linear ODE too.",
        lambda rows: function_of(rows, "from Cohen", step="SGD"),
        "linear ODE",
    ),
    _claim(
        "independent-weights",
        "Independent layers at the start, and nothing else, leave the trained weights of Marion et al. rough.",
        lambda rows: weights_of(rows, "from Marion", step="independent"),
        "i.i.d.-like",
    ),
    _claim(
        "independent-function",
        "Rough weights do not mean no ODE: with them the network follows an ODE of the mean, the same for every draw.",
        lambda rows: function_of(rows, "from Marion", step="independent"),
        "mean ODE",
    ),
    _claim(
        "diffusion",
        "Independent layers, the factor 1/√L and a learning rate that does not grow with depth: trained networks stay in the SDE regime,"
        " which neither paper shows.",
        lambda rows: function_of(rows, "from Marion", step="independent, 1/√L, rate not × L"),
        "SDE",
    ),
)

COLUMNS = ("weights", "function", "limit", "learning", "loss")


def _figure(group: str, title: str, caption: str) -> Figure:
    """The table of one group."""
    return Figure(f"walk-{group.lower().replace(' ', '-')}", title, caption, lambda rows: [_group(rows, group)])


def _loss(rows: pl.DataFrame) -> str:
    """The mean loss of the deepest networks."""
    import polars as pl

    own = rows.filter(pl.col("quantity") == "loss")
    deepest = own.filter(pl.col("depth") == own["depth"].max())["value"].to_list()
    return f"{sum(deepest) / len(deepest):.0e}" if deepest else "?"


def _group(rows: pl.DataFrame, group: str) -> Matrix:
    import polars as pl

    texts = []
    for step in GROUPS[group]:
        own = rows.filter((pl.col("group") == group) & (pl.col("step") == step) & (pl.col("stage") == "after"))
        function = own.filter(pl.col("quantity") == "function")
        if function.is_empty():
            raise LookupError(f"no verdict at {step}")
        draw = {"the same for every draw": "one", "depends on the draw": "of the draw"}.get(function["draw"][0], "?")
        weights = weights_of(rows, group, step=step)
        texts.append([weights, function["label"][0], draw, function["learning"][0], _loss(own)])
    smooth = {"hypothesis 1": 0.25, "neural ODE": 0.25, "undecided": float("nan"), "?": float("nan")}
    shades = [[smooth.get(text, 0.0) for text in row] for row in texts]
    return Matrix(shades, COLUMNS, list(GROUPS[group]), "", "", texts=texts)


WALK = Study(
    "walk",
    title="From one paper to the other, one factor at a time",
    text=(
        "Cohen et al. 2021 train one matrix per layer and a δ that all layers share, with Adam from small independent weights, and find"
        " that trained weights do not follow a neural ODE; Marion et al. 2024 train two matrices per layer at a fixed 1/L, by gradient"
        " descent with a rate that grows with depth, from equal layers, and prove that they do. Between the two settings lie six factors."
        " Each row below is a family of networks of growing depth with six seeds, trained until a loss of 1e-3 or for 1200 iterations"
        " (paper: 2000), and judged twice: what the weights become, and what the function becomes.\n\n"
        "Training data are those of Cohen et al.: the same 64 pairs (quick) or 128 pairs (paper) for every seed and depth. The claims were"
        " written after a first run of the quick tier, and name what it showed."
    ),
    tasks=_tasks,
    figures=(
        _figure(
            "path",
            "A path from one paper to the other",
            "Verdicts on trained networks; every row changes one factor of the row above. Shaded: weights with a limit, and neural ODEs;"
            " grey: the verdict abstains. Limit: one for all draws, or of the draw. Loss: mean over seeds at the largest depth.",
        ),
        _figure(
            "from Cohen",
            "Cohen et al. 2021, one factor changed",
            "As the figure above, from the first setting of the path.",
        ),
        _figure(
            "from Marion",
            "Marion et al. 2024, one factor changed",
            "As the figure above, from the last setting of the path.",
        ),
    ),
    claims=CLAIMS,
)

STUDIES = (WALK,)
