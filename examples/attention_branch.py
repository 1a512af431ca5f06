"""A branch of one's own: do the weights and outputs of deep attention networks converge as L grows?"""

import polars as pl
from torch import nn

from deeplimit.branches import ModuleBranch
from deeplimit.claims import Claim
from deeplimit.data import GaussianPairs
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import Every, Loss, StateDistance, WeightDistance
from deeplimit.networks import OwnInitialisation, ResidualStack
from deeplimit.study import Study, Tiered
from deeplimit.training import GradientFlow, SquaredError

TOKENS, WIDTH = 6, 8
CAPTION = "Mean over seeds, with their range. A law c/L bends down near the deepest network, to c (1/L − 1/L_ref)."
STARTS = {"tied": OwnInitialisation(tied=True), "independent": OwnInitialisation(tied=False)}


class Block(nn.Module):
    """Single-head attention and a small perceptron side by side, each behind its layer norm."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        inner = nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        self.perceptron = nn.Sequential(nn.LayerNorm(WIDTH), *inner)

    def forward(self, h):  # (samples, tokens, width)
        z = self.norm(h)
        scores = self.query(z) @ self.key(z).mT / WIDTH**0.5
        return self.out(scores.softmax(-1) @ self.value(z)) + self.perceptron(h)


def distances(rows, what, start):
    """Distance to the deepest network by depth and seed, after training; for weights, all roles together."""
    own = rows.filter(pl.col("quantity").str.starts_with(f"distance.{what}"), start=start)
    last = own.filter(iteration=own["iteration"].max())
    return last.group_by("depth", "seed").agg(pl.col("value").pow(2).sum().sqrt()).sort("depth", "seed")


def panels(rows):
    def panel(what, title):
        curves = [curve(distances(rows, what, start), f"{start} layers") for start in STARTS]
        axes = {"xlabel": "depth L", "ylabel": f"distance to L = {rows['depth'].max()}"}
        return Panel(curves, **axes, title=title, xscale="log", yscale="log")

    return [panel("l2", "weights, L²(s)"), panel("outputs", "outputs")]


def curve(rows, label):
    """The mean over seeds, with their range."""
    value = pl.col("value")
    by_depth = rows.group_by("depth").agg(mean=value.mean(), low=value.min(), high=value.max()).sort("depth")
    return Curve(by_depth["depth"], by_depth["mean"], label, by_depth["low"], by_depth["high"])


def decay(statement, what, start, expected, ruling="reproduced"):
    def measure(rows):
        return exponent(distances(rows, what, start), reference=rows["depth"].max())

    quantity = "exponent in L of the distance to the deepest network, L ≥ 16"
    more = {"source": "derived", "expected_ruling": ruling, "minimum_sample": 5}
    return Claim(f"{what}-{start}", statement, "", quantity, measure, expected, 0.05, **more)


study = Study(
    name="attention",
    title="Deep attention networks",
    text="Layers that start equal and layers that start independent, trained in lock-step at several depths.",
    grid={"depth": Tiered(quick=(8, 16, 32, 64, 128), paper=(16, 32, 64, 128, 256, 1024)), "start": tuple(STARTS)},
    seeds=(0,),
    replicates=4,
    lockstep=True,
    network=lambda depth, start: ResidualStack(ModuleBranch(Block, (TOKENS, WIDTH)), depth, init=STARTS[start]),
    data=GaussianPairs(16, (TOKENS, WIDTH), (TOKENS, WIDTH)),
    optimizer=Tiered(quick=GradientFlow(0.2), paper=GradientFlow(0.05)),
    loss=SquaredError(per_entry=True),
    iterations=Tiered(quick=20, paper=80),
    measures=(Loss(Every(5)), WeightDistance(Every(20)), StateDistance(Every(20))),
    figures=(Figure("distances", "Distance to the deepest network", CAPTION, panels),),
    claims=(
        decay("From tied layers the weights converge as 1/L, as functions of s = k/L.", "l2", "tied", -1),
        decay("From tied layers the outputs converge as 1/L.", "outputs", "tied", -1),
        decay("From independent layers the weights do not converge as functions of s.", "l2", "independent", 0),
        decay("From independent layers outputs still converge as 1/L.", "outputs", "independent", -1, "not reproduced"),
    ),
)
