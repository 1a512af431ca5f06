"""A small training run at two depths, two seeds each: what a paper's study is, in a second."""

from __future__ import annotations

from deeplimit.branches import Perceptron
from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs
from deeplimit.measures import Every, Loss
from deeplimit.networks import ResidualStack
from deeplimit.study import Study
from deeplimit.training import GradientFlow


def first_loss(rows):
    losses = rows.filter(rows["quantity"] == "loss")["value"]
    return Measured(losses[0], losses[0], losses[0])


study = Study(
    name="training",
    grid={"depth": (4, 8)},
    seeds=(2,),
    replicates=1,
    network=lambda depth: ResidualStack(Perceptron(state=4, width=8), depth=depth),
    data=GaussianPairs(10, 4, 4),
    optimizer=GradientFlow(0.01),
    iterations=400,
    measures=(Loss(Every(10)),),
    claims=(Claim("training.1", "the loss starts near 8", "here", "loss", first_loss, 8.0, 8.0, "derived"),),
)
