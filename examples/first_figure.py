"""The first figure of Marion et al. 2024 (left panel), written as a study of one's own."""

from deeplimit.branches import Perceptron
from deeplimit.claims import Claim
from deeplimit.data import GaussianPairs
from deeplimit.draws import SequentialDraw
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import At, LayerGaps
from deeplimit.networks import ResidualStack
from deeplimit.processes import Normal, Tied, Zero
from deeplimit.study import Study, Tiered
from deeplimit.training import GradientFlow, SquaredError

PUBLISHED = Curve((16, 64, 256), (0.162, 0.0815, 0.0408), label="published, 50 iterations", style="markers")


def network(depth):  # as the released script: equal layers, V = 0, no factors 1/√m and 1/√q
    start = {"V": Zero(), "W": Tied(Normal(transposed=True))}
    return ResidualStack(Perceptron(state=16, width=32, normalised=False), depth, init=start)


def panels(rows):
    own = rows.filter(seed=2).sort("depth")  # the authors' draw
    left, right = (curves(own.filter(quantity=name)) for name in ("gap.max", "gap.aggregate"))
    axes = {"xlabel": "depth L", "xscale": "log", "yscale": "log"}
    maximum = Panel(left, **axes, ylabel="max over k, t of ‖Z(k+1) − Z(k)‖", title="true maximum")
    return [maximum, Panel([*right, PUBLISHED], **axes, ylabel="released statistic", title="as plotted in the paper")]


def curves(rows):
    horizons = (rows.filter(iteration=t) for t in rows["iteration"].unique().sort())
    return [Curve(h["depth"], h["value"], label=f"{h['iteration'][0]} iterations") for h in horizons]


def decay(name, expected):
    def measure(rows):  # one slope per seed over L ≥ 16, at the last horizon
        return exponent(rows.filter(quantity=f"gap.{name}", iteration=rows["iteration"].max()))

    statement = f"The {name} of the distances between successive layers decays as L^{{{expected:g}}}."
    return Claim(name, statement, "Figure 1, left", "exponent in L", measure, expected, 0.02, "derived")


study = Study(
    name="first-figure",
    title="Do successive layers approach each other as 1/L?",
    grid={"depth": Tiered(quick=(16, 64, 256), paper=(2, 16, 64, 256, 1014))},
    seeds=(2,),
    replicates=4,
    network=network,
    data=GaussianPairs(100, 16, 16),
    optimizer=GradientFlow(1e-2),
    loss=SquaredError(per_entry=True),
    draw=SequentialDraw(),
    iterations=Tiered(quick=50, paper=500),
    measures=LayerGaps(At((25, 50, 100, 450))),
    figures=(Figure("gaps", "Largest distance between layers", "Slopes −1 and −1/2.", panels),),
    claims=(decay("max", -1.0), decay("aggregate", -0.5)),
)
