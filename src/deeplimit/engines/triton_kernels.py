"""The kernels of the `triton` engine, each one walk over the whole depth: algorithm 2, lines 2–5 and 7–9, for a block of samples.

A program owns `ROWS` samples of one member. Their states (on the way back their costates) stay in registers from layer to layer; weights
are read, and what the next pass needs is written. Programs share no sample, so nothing is added up across them, and no address is both
read and written by one kernel but for the states at the two ends of a walk.

Blocks lie one after the other: number k E + e of weights, states or slopes is layer k of member e (E = 1 without an ensemble). That number
is counted in 64 bits, since a deep stack has more than 2^31 numbers. Sizes q and m are padded to Q and M, powers of two of at least 16, as
the matrix units want them; since σ(0) = 0 for every activation here, padding stays zero through all layers.

Importing this module imports Triton. Whether Triton compiles or interprets the kernels is decided then (TRITON_INTERPRET).
"""

from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether the kernels run in Triton's interpreter, on the CPU."""


@triton.jit
def tanh(z):
    """Tanh to rounding in both precisions: where 1 − e^(−2|z|) would cancel, a quotient of polynomials (Padé [7/6], error 2e-16)."""
    near = tl.abs(z) < 0.5
    x = tl.where(near, z, 0.0)
    y = x * x
    above = x * (135135.0 + y * (17325.0 + y * (378.0 + y)))
    below = 135135.0 + y * (62370.0 + y * (3150.0 + y * 28.0))
    e = tl.exp(-2.0 * tl.abs(z))
    far = (1.0 - e) / (1.0 + e)
    return tl.where(near, above / below, tl.where(z < 0, -far, far))


@triton.jit
def activated(z, SIGMA: tl.constexpr, LEAK: tl.constexpr):
    """σ(z) and σ′(z), as `Activation.in_place` defines them; NaN gives NaN."""
    one = tl.full(z.shape, 1.0, z.dtype)
    e = tl.exp(-tl.abs(z))  # at most 1; not computed where nobody asks for it
    logistic = tl.where(z < 0, e, one) / (1.0 + e)
    if SIGMA == "tanh":
        a = tanh(z)
        s = 1.0 - a * a
    elif SIGMA == "gelu":
        below = 0.5 + 0.5 * tl.erf(z * 0.7071067811865476)
        a = z * below
        s = below + z * (0.3989422804014327 * tl.exp(-0.5 * z * z))
    elif SIGMA == "relu":
        a = tl.where(z <= 0, 0.0, z)
        s = tl.where(z > 0, one, 0.0)
    elif SIGMA == "leaky_relu":
        a = tl.where(z > 0, z, LEAK * z)
        s = tl.where(z > 0, one, LEAK * one)
    elif SIGMA == "silu":
        a = z * logistic
        s = logistic + a - a * logistic
    elif SIGMA == "shifted_softplus":
        a = tl.where(z <= 0, 0.0, z) + tl.log(1.0 + e) - 0.6931471805599453
        s = logistic
    else:
        tl.static_assert(SIGMA == "identity")
        a = z
        s = one
    return a, s


@triton.jit(do_not_specialize=["depth", "samples"])
def forward(
    H, S, A, W, V, b, c, gain, depth, samples,
    q: tl.constexpr, m: tl.constexpr, Q: tl.constexpr, M: tl.constexpr, ROWS: tl.constexpr,
    SIGMA: tl.constexpr, LEAK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """h ← h + γ (V σ(W h + b) + c) from the first layer to the last; writes H_1 … H_L, σ′(z) and σ(z).

    Shapes: H `[L+1, E, n, q]` whose first block is given, S and A `[L, E, n, m]`, W `[L, E, m, q]`, V `[L, E, q, m]`, b `[L, E, m]`,
    c `[L, E, q]`, or without V gain `[L, E]`; b, V, c and gain may be None. The grid is ⌈n/ROWS⌉ × E.
    """
    layer = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    i, j = tl.arange(0, Q), tl.arange(0, M)
    states, hidden = row * q + i[None, :], row * m + j[None, :]
    is_state, is_hidden = (row < samples) & (i < q)[None, :], (row < samples) & (j < m)[None, :]
    is_weight = (i < q)[:, None] & (j < m)[None, :]
    h = tl.load(H + layer * samples * q + states, mask=is_state, other=0.0)
    for _ in range(depth):
        w = tl.load(W + layer * (m * q) + j[None, :] * q + i[:, None], mask=is_weight, other=0.0)  # Wᵀ
        z = tl.dot(h, w, input_precision=PRECISION)
        if b is not None:
            z += tl.load(b + layer * m + j, mask=j < m, other=0.0)[None, :]
        a, s = activated(z, SIGMA, LEAK)
        tl.store(S + layer * samples * m + hidden, s, mask=is_hidden)
        tl.store(A + layer * samples * m + hidden, a, mask=is_hidden)
        if V is None:
            h += a * tl.load(gain + layer)
        else:
            v = tl.load(V + layer * (q * m) + i[None, :] * m + j[:, None], mask=is_weight.trans(), other=0.0)  # Vᵀ
            h += tl.dot(a, v, input_precision=PRECISION)
        if c is not None:
            h += tl.load(c + layer * q + i, mask=i < q, other=0.0)[None, :]
        layer += tl.num_programs(1)
        tl.store(H + layer * samples * q + states, h, mask=is_state)


@triton.jit(do_not_specialize=["depth", "samples"])
def backward(
    P, G, S, W, V, gain, depth, samples,
    q: tl.constexpr, m: tl.constexpr, Q: tl.constexpr, M: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """g ← γ Vᵀ p ⊙ σ′(z), p ← p + Wᵀ g from the last layer to the first; writes P_0 … P_{L−1} and all g.

    Shapes: P `[L+1, E, n, q]` whose last block is given, G and S `[L, E, n, m]`, the others as in `forward`.
    """
    layer = tl.program_id(1).to(tl.int64) + depth * tl.num_programs(1)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    i, j = tl.arange(0, Q), tl.arange(0, M)
    states, hidden = row * q + i[None, :], row * m + j[None, :]
    is_state, is_hidden = (row < samples) & (i < q)[None, :], (row < samples) & (j < m)[None, :]
    is_weight = (i < q)[:, None] & (j < m)[None, :]
    p = tl.load(P + layer * samples * q + states, mask=is_state, other=0.0)
    for _ in range(depth):
        layer -= tl.num_programs(1)
        s = tl.load(S + layer * samples * m + hidden, mask=is_hidden, other=0.0)
        if V is None:
            g = s * p * tl.load(gain + layer)
        else:
            v = tl.load(V + layer * (q * m) + i[:, None] * m + j[None, :], mask=is_weight, other=0.0)
            g = s * tl.dot(p, v, input_precision=PRECISION)
        tl.store(G + layer * samples * m + hidden, g, mask=is_hidden)
        w = tl.load(W + layer * (m * q) + j[:, None] * q + i[None, :], mask=is_weight.trans(), other=0.0)
        p += tl.dot(g, w, input_precision=PRECISION)
        tl.store(P + layer * samples * q + states, p, mask=is_state)
