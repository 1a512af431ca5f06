"""How a batch passes through the blocks of a network: the numbers that the verdict on the function is made of.

h_k are the states of the residual stream, k = 0 … L, and u_k = h_{k+1} − h_k is the update of block k = 0 … L − 1: what the block returns
minus what it takes, whatever norms lie within. A state has P positions (samples, or samples × tokens) of d numbers each. Inner products are
taken within a position and averaged over positions, each weighed such that its Σ_k ‖u_k‖² is 1: a few tokens of huge norm, which trained
transformers have, do not decide alone. G_jk = mean ⟨u_j, u_k⟩, q_k = G_kk.

    curve          length   formula                                               straight flow        independent blocks
    stream_norm    L + 1    root mean square over positions of ‖h_k‖/√d
    update_norm    L        the same of u_k                                        order 1/L            order 1/√L
    update_ratio   L        typical ‖u_k‖/‖h_k‖                                    order 1/L            order 1/√L
    alignment      L − 1    G_{k,k+1}/√(q_k q_{k+1})                               1                    0
    gain           L        ‖J_k v‖/‖v‖ of a random v in the space of all          1 + order 1/L        √(1 + branch_gain²)
                            positions; J_k is the derivative of h_k ↦ h_{k+1}
    branch_gain    L        the same of J_k − I                                    order 1/L            order 1/√L
    removal        L        ‖y_without − y‖/‖y‖: block k hands on what it takes    order 1/L            order 1/√L
    tail           L        the same for all blocks from k on                      falls as 1 − k/L     falls as √(1 − k/L)

Typical is the mean over inputs (over 32 groups of them where there are more) of the median over an input's positions. `gain` is a lower
bound of the layer's Lipschitz constant: a random direction finds the mean stretch and not the largest. y is the output of the whole
network, or the last state where the network returns no tensor.

    number               formula                                               straight flow   averaging      diffusion
    drift_share          Σ G_{k,k+1} / Σ (q_k + q_{k+1})/2                      1               c              0
    drift                Σ_{j≠k} G_jk / Σ q_k                                   L − 1           (L − 1)c ≫ 1   0
    local_drift          the same over |j − k| ≤ L/4                            about 0.44 L    0.44 L c       0
    variation            Σ q_k / ‖h_L − h_0‖² = 1/(1 + drift)                   1/L             1/(1 + Lc)     1
    variation_exponent   log variation / log L                                  −1              between        0
    hurst                Hurst index of the states over depth, order 1          near 1          ½ to 1         ½
    halving_defect       ‖h′_L − h_L‖/‖h_L − h_0‖, mean over both halves:        order 1/L       order 1/√(Lc)  1
                         every second block left out, the others doubled
    largest_share        max_k q_k / Σ q_k                                      1/L for equal blocks
    displacement         typical ‖h_L − h_0‖/‖h_0‖
    path_length          Σ_k update_ratio
    growth               median over blocks of the typical ‖h_{k+1}‖/‖h_k‖
    residual_share       median over blocks of the typical correlation over coordinates of what leaves with what enters: near 1
                         in a residual stream, near 0 in a chain of layers without one
    normalised           share of the blocks that end in a norm (post-norm): their updates hold what the norm takes back
    gap                  typical root of Σ squared moves between blocks / Σ squared updates: 0 unless something lies between them
    effective_depth      (Σ e_k)² / Σ e_k² of the effects e_k = removal: L where all blocks matter alike, 1 where one does. It says how
                         evenly blocks share in the effect and not how large that is (a participation ratio)

Intervals are of 95 %: the wider of two jackknives, one that leaves out one block at a time, one that leaves out one input (or one of 32
groups of inputs) at a time. The first sees what another draw of the blocks would have given, the second what other inputs would have. Those
of displacement, path_length, growth, residual_share, gap and halving_defect are over inputs alone, that of `hurst` over paths. Of a single
input there is no interval over inputs: the number stands for itself.

Of states of more than 32,768 numbers a seeded sample of positions is kept, and above 4,096 coordinates a sample of these too: memory is 2L
times that. Blocks run 3 times in the first pass, for the gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.claims import Measured
from deeplimit.diagnosis.function import hooked
from deeplimit.diagnosis.report import Passage
from deeplimit.diagnosis.sources.module import unwrapped

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deeplimit.diagnosis.function.hooked import Call

KEPT, COORDINATES = 32_768, 4_096
"""Numbers of a state that are kept (each block keeps two states, as one enters and as it leaves), and coordinates of a position."""

GROUPS = 32
"""Of inputs, that the jackknife leaves out one at a time."""

PATHS = 2_000
"""Coordinates of positions whose paths over depth the Hurst index is of."""


def pass_through(module: nn.Module, blocks: Sequence[str], batch: Any, *, removals: bool = True) -> Passage:
    """See a batch pass through the blocks of a network.

    The network runs in evaluation mode without gradients; it is left as it was found, its modes, hooks and the state of random numbers too.

    Args:
        module: the network; one that `torch.compile` or data parallelism wraps is run without the wrapper.
        blocks: paths of its blocks, in the order of depth: `Group.blocks`.
        batch: what the network takes: a tensor, a tuple of positional arguments, or a mapping of keyword arguments. Positions that an
            `attention_mask` of shape `[samples, tokens]` masks are left out.
        removals: measure what is lost without each block and without each tail: 2L − 1 further passes, beside 3 for all else (the first of
            which calls every block 3 times).

    Returns:
        The numbers of the table above. Where a state is not finite, curves are not finite from there on, numbers are of the blocks before
        it, and nothing is removed.

    Raises:
        InputError: the network cannot run on the batch, or its blocks are no chain of L states of one shape: one is not called, is called
            twice, or changes the shape.

    >>> import torch
    >>> class Block(torch.nn.Linear):
    ...     def forward(self, h):
    ...         return h + torch.tanh(super().forward(h)) / 8
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...
    >>> one = Block(16, 16)
    >>> tied = torch.nn.Sequential(*[Block(16, 16) for _ in range(8)])
    >>> for block in tied:
    ...     block.load_state_dict(one.state_dict())  # doctest: +ELLIPSIS
    <All keys...
    >>> found = pass_through(tied, [str(k) for k in range(8)], torch.randn(10, 16))
    >>> found.inputs, len(found.curves["stream_norm"]), found.numbers["drift_share"].low > 0.9
    (10, 9, True)
    """
    network = unwrapped(module)
    parts = dict(zip(blocks, hooked.submodules(network, blocks), strict=True))
    with hooked.observing(network):
        seen = _Seen(_mask(batch), _norms(parts))
        with seen.watching_norms():
            result = hooked.forward(network, parts, batch=batch, edit=seen)
        finite = seen.finite_blocks()
        if finite < len(parts):
            return _passage(seen, finite)
        again = _Again(network, parts, batch, seen, hooked.tensor_of(result))
        changes = {"halving": again.halving()} | (again.without() if removals else {})
    return _passage(seen, finite, changes)


# ---------------------------------------------------------------------------------------------------------------- seeing


@dataclass
class _Seen:
    """What a first pass records: of every block the kept part of the states that enter and leave, and its gains."""

    mask: Tensor | None
    norms: Mapping[nn.Module, int]
    before: list[Tensor] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)
    finite: list[bool] = field(default_factory=list)
    gains: list[tuple[float, float]] = field(default_factory=list)
    normed: list[bool] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    last: Tensor | None = None
    ends: dict[int, Any] = field(default_factory=dict)

    def __call__(self, k: int, call: Call) -> None:
        state = call.before
        if not k:
            self._choose(state)
        elif tuple(state.shape) != self.shape:
            raise checks.InputError(
                f"blocks: expected states of one shape, found {self.shape} at block 0 and {tuple(state.shape)} at block {k}"
            )
        self.normed.append(self.ends.get(k) is call.after)  # before the gains call the norms again
        self.before.append(self.cut(state))
        self.after.append(self.cut(call.after))
        self.finite.append(bool(state.isfinite().all()) and bool(call.after.isfinite().all()))
        self.gains.append(_gains(call, k) if self.finite[-1] else (math.nan, math.nan))
        self.last = call.after

    def watching_norms(self) -> Any:
        """For the time of a pass, remember what the norms within a block return."""
        from contextlib import ExitStack

        hooks = ExitStack()
        for norm, k in self.norms.items():

            def remember(module: nn.Module, args: Any, output: Any, k: int = k) -> None:
                self.ends[k] = output

            hooks.callback(norm.register_forward_hook(remember).remove)
        return hooks

    def finite_blocks(self) -> int:
        """Number of blocks before the first state that is not finite."""
        return self.finite.index(False) if False in self.finite else len(self.finite)

    def cut(self, state: Tensor) -> Tensor:
        """The kept positions and coordinates of a state, `[P, c]`."""
        import torch

        flat = state.reshape(-1, self.width)
        kept: Tensor = flat[self.rows.to(flat.device)][:, self.columns.to(flat.device)]
        return kept.to("cpu", torch.float64)

    def _choose(self, state: Tensor) -> None:
        """Tokens of a sequence are positions of their own; an image is one."""
        import torch

        self.shape, self.samples = tuple(state.shape), len(state)
        self.width = state.shape[-1] if state.dim() == 3 else math.prod(self.shape[1:])
        positions = state.numel() // self.width
        rows = torch.arange(positions)
        if self.mask is not None and tuple(self.mask.shape) == self.shape[:2] and state.dim() == 3:
            rows = rows[self.mask.reshape(-1).cpu() != 0]
        if not len(rows):
            raise checks.InputError("batch: expected at least one position that is not masked, found none")
        generator = torch.Generator().manual_seed(0)
        columns = min(self.width, COORDINATES)
        kept = max(1, min(len(rows), KEPT // columns))
        self.rows = rows[torch.randperm(len(rows), generator=generator)[:kept]].sort().values
        self.columns = torch.randperm(self.width, generator=generator)[:columns].sort().values
        of_sample = self.rows // (positions // self.samples)
        self.group = torch.unique(of_sample, return_inverse=True)[1] % GROUPS


def _gains(call: Call, k: int) -> tuple[float, float]:
    """Of the block's map and of its branch, by central differences in one random direction of all positions together."""
    import torch

    state = call.before
    # Of the order at which rounding and the third derivative cost the same.
    step = torch.finfo(state.dtype).eps ** (1 / 3) * float(state.double().square().mean().sqrt())
    if not step > 0:
        return math.nan, math.nan
    direction = torch.randn(state.shape, generator=torch.Generator().manual_seed(k)).to(state)
    change = (call.again(state + step * direction).double() - call.again(state - step * direction).double()) / (
        2 * step
    )
    size = float(direction.double().norm())
    return float(change.norm()) / size, float((change - direction.double()).norm()) / size


def _mask(batch: Any) -> Tensor | None:
    return batch.get("attention_mask") if isinstance(batch, Mapping) else None


def _norms(parts: Mapping[str, nn.Module]) -> dict[nn.Module, int]:
    """Norms within blocks -> number of their block."""
    return {
        inner: k
        for k, block in enumerate(parts.values())
        for inner in block.modules()
        if inner is not block and "norm" in type(inner).__name__.lower()
    }


# -------------------------------------------------------------------------------------------------------------- changing


@dataclass(frozen=True)
class _Again:
    """Further passes with blocks left out or doubled."""

    network: nn.Module
    parts: Mapping[str, nn.Module]
    batch: Any
    seen: _Seen
    output: Tensor | None

    def halving(self) -> Tensor:
        """‖h′_L − h_L‖² of both halves and ‖h_L − h_0‖², per group of inputs, `[3, groups]`."""
        import torch

        last, start = self.seen.after[-1], self.seen.before[0]
        moved = [self.seen.cut(self._last(self._doubled(phase))) - last for phase in (0, 1)]
        return torch.stack([_by_group(move, self.seen.group) for move in (*moved, last - start)])

    def without(self) -> dict[str, Tensor]:
        """‖y_without − y‖² without each block and without each tail, and ‖y‖² as the last row, `[L + 1, samples]`."""
        import torch

        depth = len(self.parts)
        whole = self.output if self.output is not None else self.seen.last
        assert whole is not None
        alone = [self._change(whole, range(k, k + 1)) for k in range(depth)]
        tails = [self._change(whole, range(k, depth)) for k in range(depth - 1)]
        size = _by_sample(whole, self.seen.samples)
        return {"removal": torch.stack([*alone, size]), "tail": torch.stack([*tails, alone[-1], size])}

    def _change(self, whole: Tensor, skipped: range) -> Tensor:
        def edit(k: int, call: Call) -> Tensor | None:
            return call.before if k in skipped else None

        if self.output is None:
            return _by_sample(self._last(edit).double() - whole.double(), self.seen.samples)
        found = hooked.tensor_of(hooked.forward(self.network, self.parts, batch=self.batch, edit=edit))
        assert found is not None
        return _by_sample(found.double() - whole.double(), self.seen.samples)

    def _last(self, edit: Callable[[int, Call], Tensor | None]) -> Tensor:
        """The last state of a changed pass."""
        states: list[Tensor] = []

        def remember(k: int, call: Call) -> Tensor | None:
            state = edit(k, call)
            states[:] = [call.after if state is None else state]
            return state

        hooked.forward(self.network, self.parts, batch=self.batch, edit=remember)
        return states[0]

    def _doubled(self, phase: int) -> Callable[[int, Call], Tensor]:
        """Blocks of one half take double steps, the others none."""

        def edit(k: int, call: Call) -> Tensor:
            return call.before if k % 2 == phase else 2 * call.after - call.before

        return edit


def _by_sample(change: Tensor, samples: int) -> Tensor:
    """Sum of squares per sample, or one sum where the output has no axis of samples."""
    squares = change.double().square()
    return squares.flatten(1).sum(1).cpu() if len(change) == samples and change.dim() > 1 else squares.sum()[None].cpu()


def _by_group(change: Tensor, group: Tensor) -> Tensor:
    """Sum of squares of positions `[P, c]` per group of inputs."""
    import torch

    squares = change.square().sum(1)
    return torch.zeros(int(group.max()) + 1, dtype=squares.dtype).index_add_(0, group, squares)


# ------------------------------------------------------------------------------------------------------------- measuring


def _passage(seen: _Seen, finite: int, changes: Mapping[str, Tensor] | None = None) -> Passage:
    """The curves and numbers of the first finite blocks; curves are filled up with what is not a number."""
    import torch

    depth = len(seen.before)
    changes = changes or {}
    if not finite:
        empty = dict.fromkeys(("update_norm", "update_ratio", "gain", "branch_gain"), (math.nan,) * depth)
        return Passage(
            seen.samples,
            {"stream_norm": (math.nan,) * (depth + 1), **empty, "alignment": (math.nan,) * (depth - 1)},
            {},
        )
    entering, leaving = torch.stack(seen.before[:finite]), torch.stack(seen.after[:finite])
    paths = _Paths(entering, leaving, seen.group)
    curves = paths.curves(math.sqrt(len(seen.columns)))
    gains, branch_gains = zip(*seen.gains[:finite], strict=True)
    curves |= {"gain": list(gains), "branch_gain": list(branch_gains)}
    for name in ("removal", "tail"):
        if name in changes:
            curves[name] = (changes[name][:-1].sum(1) / changes[name][-1].sum()).sqrt().tolist()
    lengths = {"stream_norm": depth + 1, "alignment": depth - 1}
    filled = {
        name: (*values, *[math.nan] * (lengths.get(name, depth) - len(values))) for name, values in curves.items()
    }
    numbers = paths.numbers() | {"normalised": _share(seen.normed)}
    if "halving" in changes:
        numbers["halving_defect"] = _halving_defect(changes["halving"])
    if "removal" in changes:
        numbers["effective_depth"] = _effective_depth(changes["removal"])
    return Passage(seen.samples, filled, numbers)


class _Paths:
    """States of the kept positions, `[L, P, c]` as they enter and as they leave the blocks."""

    def __init__(self, entering: Tensor, leaving: Tensor, group: Tensor) -> None:
        import torch

        self.entering, self.leaving, self.group = entering, leaving, group
        self.depth = len(entering)
        updates = leaving - entering
        weight = updates.square().sum((0, 2))
        scaled = updates * torch.where(weight > 0, weight, 1.0).rsqrt()[:, None]
        groups = [scaled[:, group == g].flatten(1) for g in range(int(group.max()) + 1)]
        self.grams = torch.stack([own @ own.T for own in groups])  # [groups, L, L]
        self.updates = updates

    def curves(self, root: float) -> dict[str, list[float]]:
        gram = self.grams.sum(0)
        sizes = gram.diagonal().sqrt()
        states = [*self.entering, self.leaving[-1]]
        return {
            "stream_norm": [float(h.square().sum(1).mean().sqrt()) / root for h in states],
            "update_norm": (self.updates.square().sum(2).mean(1).sqrt() / root).tolist(),
            "update_ratio": self._typical(self._ratios()).mean(1).tolist(),
            "alignment": (gram.diagonal(1) / (sizes[1:] * sizes[:-1])).tolist(),
        }

    def numbers(self) -> dict[str, Measured]:
        moved = (self.leaving[-1] - self.entering[0]).norm(dim=1) / self.entering[0].norm(dim=1)
        factors = self.leaving.norm(dim=2) / self.entering.norm(dim=2)
        numbers = {
            "residual_share": self._over_inputs(_correlations(self.entering, self.leaving), _middle),
            "displacement": self._over_inputs(moved[None], _middle),
            "path_length": self._over_inputs(self._ratios(), lambda rows: rows.sum(0)),
            "growth": self._over_inputs(factors, _middle),
            "gap": self._over_inputs(self._gaps()[None], _middle),
        }
        if self.depth < 3 or not bool(self.grams.sum() != 0):
            return numbers
        numbers["largest_share"] = self._largest_share()
        numbers["drift_share"] = self._over_both(_drift_share)
        drift = self._over_both(lambda gram, kept: _drift(gram, kept, self.depth - 1))
        window = max(1, self.depth // 4)
        numbers["drift"] = drift
        numbers["local_drift"] = self._over_both(lambda gram, kept: _drift(gram, kept, window))
        numbers["variation"] = _mapped(drift, _variation)
        numbers["variation_exponent"] = _mapped(drift, lambda x: math.log(_variation(x)) / math.log(self.depth))
        if self.entering[0].numel() > 1:
            numbers["hurst"] = self._hurst()
        return numbers

    def _largest_share(self) -> Measured:
        """Over inputs; another draw of the blocks has another largest one."""
        q = self.grams.diagonal(dim1=1, dim2=2)  # [groups, L]
        whole = q.sum(0)
        k = int(whole.argmax())
        shares = [float((whole - own)[k] / (whole - own).sum()) for own in q] if len(q) > 1 else []
        found = _interval(float(whole[k] / whole.sum()), inputs=shares)
        return replace(found, note=f"block {k}; {found.note}")

    def _ratios(self) -> Tensor:
        """‖u_k‖/‖h_k‖, `[L, P]`."""
        ratios: Tensor = self.updates.norm(dim=2) / self.entering.norm(dim=2)
        return ratios

    def _gaps(self) -> Tensor:
        """Moves between the blocks beside moves in them, `[P]`."""
        import torch

        between = (self.entering[1:] - self.leaving[:-1]).square().sum((0, 2))
        return torch.where(between > 0, between / self.updates.square().sum((0, 2)), 0.0).sqrt()

    def _typical(self, table: Tensor) -> Tensor:
        """The median over the positions of each group, `[rows, P]` to `[rows, groups]`."""
        import torch

        groups = range(int(self.group.max()) + 1)
        return torch.stack([table[:, self.group == g].nanmedian(1).values for g in groups], dim=1)

    def _over_inputs(self, table: Tensor, statistic: Callable[[Tensor], Tensor]) -> Measured:
        """A statistic of the rows of a table `[rows, P]`, each the mean over groups of the median over their positions."""
        typical = self._typical(table)
        count = typical.shape[1]
        left = [float(statistic((typical.sum(1) - own) / (count - 1))) for own in typical.T] if count > 1 else []
        return _interval(float(statistic(typical.mean(1))), inputs=left)

    def _over_both(self, statistic: Callable[[Tensor, Tensor], Tensor]) -> Measured:
        """A statistic of a Gram matrix and of the blocks that count, with the wider of both jackknives."""
        import torch

        every = torch.ones(self.depth, dtype=torch.bool)
        whole = self.grams.sum(0)
        inputs = [float(statistic(whole - own, every)) for own in self.grams] if len(self.grams) > 1 else []
        blocks = [float(statistic(whole, every & (torch.arange(self.depth) != k))) for k in range(self.depth)]
        return _interval(float(statistic(whole, every)), inputs=inputs, blocks=blocks)

    def _hurst(self) -> Measured:
        import torch

        from deeplimit.statistics import hurst

        states = torch.cat([self.entering, self.leaving[-1:]])
        paths = states.flatten(1).T
        chosen = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[:PATHS]
        lags = (1, 2, 4) if self.depth >= 8 else (1, 2)
        return hurst(paths[chosen], lags, order=1, resamples=200)


def _drift_share(gram: Tensor, kept: Tensor) -> Tensor:
    pairs = kept[1:] & kept[:-1]
    q = gram.diagonal()
    share: Tensor = gram.diagonal(1)[pairs].sum() / ((q[1:] + q[:-1]) / 2)[pairs].sum()
    return share


def _drift(gram: Tensor, kept: Tensor, window: int) -> Tensor:
    """The mean of products of two blocks at most `window` apart, beside the mean square, times the number of such pairs per block."""
    import torch

    k = torch.arange(len(gram))
    near = ((k[:, None] - k).abs() <= window) & (k[:, None] != k)
    both = near & kept[:, None] & kept
    drift: Tensor = gram[both].mean() / gram.diagonal()[kept].mean() * (near.sum() / len(gram))
    return drift


def _correlations(entering: Tensor, leaving: Tensor) -> Tensor:
    """Over coordinates, of what leaves each block with what enters it, `[L, P]`."""
    import torch

    entering, leaving = (side - side.mean(2, keepdim=True) for side in (entering, leaving))
    return torch.nn.functional.cosine_similarity(entering, leaving, dim=2)


def _middle(rows: Tensor) -> Tensor:
    return rows.median()


def _variation(drift: float) -> float:
    return 1 / (1 + drift) if drift > -1 else math.inf


def _mapped(drift: Measured, falling: Callable[[float], float]) -> Measured:
    return Measured(falling(drift.value), falling(drift.high), falling(drift.low), drift.sample, drift.note)


def _share(flags: Sequence[bool]) -> Measured:
    share = sum(flags) / len(flags)
    return Measured(share, share, share, len(flags), "counted")


def _halving_defect(squares: Tensor) -> Measured:
    """Of `[3, groups]`: both halves and the displacement."""

    def defect(table: Tensor) -> float:
        sums = table.sum(1)
        return float((sums[:2] / sums[2]).sqrt().mean())

    groups = squares.shape[1]
    left = [defect(squares[:, [g for g in range(groups) if g != out]]) for out in range(groups)] if groups > 1 else []
    return _interval(defect(squares), inputs=left)


def _effective_depth(squares: Tensor) -> Measured:
    """Of `[L + 1, samples]`: effects of the blocks, and the output."""

    def depth(effects: Tensor) -> float:
        return float(effects.sum().square() / effects.square().sum())

    import torch

    effects, blocks = squares[:-1].sum(1).sqrt(), len(squares) - 1
    left = [effects[torch.arange(blocks) != k] for k in range(blocks)]
    groups = torch.arange(squares.shape[1]) % GROUPS
    count = int(groups.max()) + 1
    fewer = [squares[:-1, groups != g].sum(1).sqrt() for g in range(count)] if count > 1 else []
    scaled = [depth(own) * blocks / (blocks - 1) for own in left]
    found = _interval(depth(effects), inputs=[depth(own) for own in fewer], blocks=scaled)
    return Measured(found.value, max(found.low, 1.0), min(found.high, float(blocks)), found.sample, found.note)


def _interval(value: float, *, inputs: Sequence[float] = (), blocks: Sequence[float] = ()) -> Measured:
    """The wider of the jackknives over inputs and over blocks."""
    widths = {name: _half_width(left) for name, left in (("inputs", inputs), ("blocks", blocks)) if len(left) > 1}
    if not widths:
        return Measured(value, value, value, 1, "one input: no interval")
    widest = max(widths, key=lambda name: widths[name])
    sample = len(inputs) if widest == "inputs" else len(blocks)
    tried = " and ".join(widths)
    note = f"95 % jackknife over {tried}" + (f", that over {widest} the wider" if len(widths) > 1 else "")
    return Measured(value, value - widths[widest], value + widths[widest], sample, note)


def _half_width(left: Sequence[float]) -> float:
    """Of a number computed without each of n parts in turn: t_{n−1} times ((n − 1)/n Σ (x_i − x̄)²)^{1/2} (Tukey's jackknife)."""
    from deeplimit.fits import half_width

    return (len(left) - 1) * half_width(left)
