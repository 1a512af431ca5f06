"""Row 15 of the checklist: the PL constant at the initialisation."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.branches import Perceptron
from deeplimit.claims import Claim, Measured
from deeplimit.figures import Figure, Panel
from deeplimit.fits import exponent
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import guide, seconds_for, seed_band
from deeplimit.papers.marion2024.long_time.strict import claim, strict, strict_data
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import checksum, draw_members

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters


def tangent_kernel(network: ResidualStack, params: Parameters, *, x: Tensor) -> Tensor:
    """The kernel by which the loss decays where V = 0, `[E, n, n]`.

    K = 2 X Xᵀ + σ(H Wᵀ/√q) σ(H Wᵀ/√q)ᵀ / m,  H = X Aᵀ;   −dℓ/dt = (4/n²) rᵀ K r along the flow (4), r the residuals

    A and B give X Xᵀ each, the layers' V the second part whatever the depth, and W nothing, since its gradient has the factor V.
    Derived from equation (3) for `strict` networks.

    Args:
        network: a `strict` one.
        params: its initial parameters, `[E, …]`.
        x: `[E, n, d]`.
    """
    branch = network.branch
    assert isinstance(branch, Perceptron)
    features = branch.activation(branch.inner_factor * network.embed(params, x) @ params["W"][:, 0].mT)
    return 2 * x @ x.mT + features @ features.mT / branch.width


@dataclass(frozen=True)
class KernelConstant:
    """The largest μ with which the PL condition holds at the initialisation whatever the targets: μ = (4/n) λ_min(K).

    The least ratio (4/n) rᵀ K r / ‖r‖² over residuals r, K the `tangent_kernel`: what the proof of Prop. 5 bounds from below, on a ball so
    small that nothing moves in it.

    Rows: `mu` with m as index, for every seed.

    Args:
        samples, inputs: n and d.
        widths: m.
        seeds: draws of W and x.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int
    inputs: int
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """One least eigenvalue per width and seed."""
        import torch

        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        for width, seed in itertools.product(self.widths, self.seeds):
            network = strict(1, inputs=self.inputs, width=width)
            params, batch = draw_members(network, data, seeds=(seed,))
            context.provenance["data"] = checksum(batch, str(context.provenance.get("data", "")))
            least = torch.linalg.eigvalsh(tangent_kernel(network, params, x=batch[0]))[0, 0].item()
            # Below full rank the least eigenvalue is 0 up to rounding of either sign.
            yield {"seed": seed, "quantity": "mu", "index": width, "value": 4 / self.samples * max(least, 0.0)}

    def cost(self) -> Cost:
        """An eigenvalue problem of size n for each, counted in layers of 16 samples."""
        work = sum(self.samples**2 * (width + 10 * self.samples) for width in self.widths) / 16**3
        return Cost(len(self.seeds) * work, 8.0 * self.samples * (max(self.widths) + 4 * self.samples), 1e4)

    def probe(self, context: Context) -> float:
        """From one seed."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:1]), context=context)


SHARES = {"1/2": 1 / 2, "3/4": 3 / 4}
"""d/n of the kernels."""

MIDDLE, PER_SAMPLE = 64, (1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 2, 4, 8)
"""The n at which the width varies, and m/n there."""


def _kernel_tasks(settings: Settings) -> Iterator[Task]:
    """m = 4n at growing n, and growing m at the middle n."""
    sizes = settings.pick(Tiered(quick=(16, 32, 64, 128, 256), paper=(16, 32, 64, 128, 256, 512, 1024)))
    for (share, part), n in itertools.product(SHARES.items(), sizes):
        factors = PER_SAMPLE if n == MIDDLE else (4,)
        widths = tuple(round(factor * n) for factor in factors)
        yield KernelConstant(n, round(part * n), widths, settings.seeds(0), labels={"samples": n, "share": share})


def _kernel_mu(rows: pl.DataFrame, share: str) -> pl.DataFrame:
    """μ at m = 4n."""
    import polars as pl

    return only(rows, quantity="mu", share=share).filter(pl.col("index") == 4 * pl.col("samples"))


def _kernel_exponent(*, times_state: bool) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in n of μ, or of μ q, at d = n/2."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        factor = pl.col("samples") // 2 + 1 if times_state else 1
        return exponent(_kernel_mu(rows, "1/2").with_columns(value=pl.col("value") * factor), "samples")

    return measure


def _kernel_panels(rows: pl.DataFrame) -> list[Panel]:
    """μ against n at m = 4n, and against m/n at the middle n."""
    against_n = [seed_band(_kernel_mu(rows, share), "samples", label=f"d/n = {share}") for share in SHARES]
    guides = [guide(against_n[0], slope) for slope in (-1.0, -1.5)]
    against_m = [
        seed_band(only(rows, samples=MIDDLE, share=share), "index", label=f"d/n = {share}") for share in SHARES
    ]
    against_m = [dataclasses.replace(curve, x=[m / MIDDLE for m in curve.x]) for curve in against_m]
    return [
        Panel([*against_n, *guides], "samples n", "μ at the start", title="m = 4n", xscale="log", yscale="log"),
        Panel(against_m, "m/n", "μ at the start", title=f"n = {MIDDLE}", xscale="log"),
    ]


def _kernel_claim(name: str, quantity: str, *, times_state: bool) -> Claim:
    return claim(
        f"15.{name}",
        "Linear width suffices: with m = 4n the PL constant at the initialisation decays no faster than Prop. 5 says.",
        where="Prop. 5",
        quantity=f"exponent in n of {quantity} at the initialisation, m = 4n, d = n/2, q = d + 1",
        measure=_kernel_exponent(times_state=times_state),
        expected=-1.5,
        relation="at least",
        minimum_sample=5,
    )


KERNEL = Study(
    "pl-constant",
    title="The PL constant at the initialisation",
    text=(
        "At the initialisation the PL ratio is a quadratic form of the residuals, and the largest μ that serves all targets is 4/n"
        " times the least eigenvalue of its kernel. No training is needed, so that n can be large. With m = 4n the eigenvalue tends to"
        " a constant and μ to a multiple of 1/n: the exponents rise to −1 for μ, and to 0 for μ q. The n − d directions that A and B"
        " do not reach need as many features: μ is 0 for m < n − d, so that no width that grows more slowly than n would do."
    ),
    tasks=_kernel_tasks,
    replicates=9,
    figures=(
        Figure(
            "pl-constant",
            "The PL constant at the initialisation",
            "With m = 4n the constant falls like 1/n. At fixed n it is 0 until there are as many features as directions to fit.",
            _kernel_panels,
        ),
    ),
    claims=(
        _kernel_claim("exponent-start", "μ", times_state=False),
        _kernel_claim("exponent-start-times-state", "μ q", times_state=True),
    ),
)
