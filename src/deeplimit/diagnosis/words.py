"""Names of tensors taken apart, and what people call things: tables of words, hints that never decide against a shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SEPARATORS = "./:_-"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SIDE_BY_SIDE = _words(
    "head heads expert experts branch branches group groups codebook codebooks quantizer quantizers embedding embeddings "
    "member members models ensemble"
)
"""Words before a number that counts things beside each other, not one after the other."""

QUERY = _words("q query queries q_proj q_lin q_linear query_proj to_q wq w_q q_proj_weight linear_q fc_q")
KEY = _words("k key keys k_proj k_lin k_linear key_proj to_k wk w_k linear_k fc_k")
VALUE = _words("v value values v_proj v_lin v_linear value_proj to_v wv w_v linear_v fc_v")
FUSED = _words("qkv c_attn in_proj to_qkv wqkv qkv_proj attn_qkv query_key_value")
FUSED_KEY_VALUE = _words("kv to_kv kv_proj")
BY_HEAD = frozenset({"query_key_value"})
"""Fused projections whose rows are (query, key, value) of one head after the other."""
GROUPED = frozenset({"qkv_proj", "c_attn"})
"""Fused projections that may have fewer rows for keys and values than for queries: queries, keys, values, one after the other."""
UNKNOWN_ORDER = frozenset({"codegen"})
"""`model_type` of a configuration whose fused rows are in an order of their own."""

OUTPUT = _words(
    "o o_proj out_proj out_lin to_out.0 to_out wo w_o proj c_proj dense output.dense out output linear_o out_linear fc_o out_net"
)
CROSS = re.compile(r"cross|encdec|enc_dec|encoder_att|enc_att", re.IGNORECASE)

FIRST = _words(
    "fc1 fc_1 lin1 linear1 linear_1 dense1 conv1 in fc_in in_proj w wi wi_0 wi_1 w1 w3 up up_proj gate gate_proj "
    "gate_up_proj c_fc intermediate dense_h_to_4h key expand conv_pw pwconv1 inner read reads"
)
SECOND = _words(
    "fc2 fc_2 lin2 linear2 linear_2 dense2 conv2 out fc_out out_proj v wo w2 down down_proj c_proj output dense_4h_to_h "
    "value project conv_pwl pwconv2 outer write writes"
)
GATE = _words("gate gate_proj w1 wi_0 gate_linear")
ASIDE = _words("bottleneck downsample shortcut skip se adapter router mamba mixer ssm")
"""Modules whose matrices are no part of a perceptron."""

NORM = re.compile(r"norm|(^|_)(ln|bn)(_|\d|$)|^(ln|bn)", re.IGNORECASE)
SCALE = re.compile(
    r"^(ls|layer_?scale|gamma|lambda|alpha|res_?weight|residual_?(scale|multiplier|weight|gain)|res_?scale|skip_?(scale|gain|init)"
    r"|re_?zero|delta|scale)(_?\w*)$",
    re.IGNORECASE,
)
POSITIONS = re.compile(r"relative|rel_pos|position|rotary|rope|inv_freq|alibi|mask", re.IGNORECASE)
"""What only some blocks may have, though all do the same: biases of positions, masks."""
BUFFER = re.compile(r"mask|inv_freq|rotary|cos_cached|sin_cached", re.IGNORECASE)

LEAVES = {
    **dict.fromkeys(("weight", "kernel", "w", "filter"), "weight"),
    **dict.fromkeys(("bias", "b"), "bias"),
    **dict.fromkeys(("scale", "gamma", "g", "a_2"), "gain"),
    **dict.fromkeys(("shift", "beta", "offset", "b_2"), "shift"),
    **dict.fromkeys(
        ("running_mean", "running_var", "mean", "variance", "var", "moving_mean", "moving_variance"), "average"
    ),
}
WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
_GLUED = re.compile(r"(.+)_(weight|bias|kernel)$")


@dataclass(frozen=True)
class Stored:
    """One tensor of a block, its name taken apart.

    Args:
        suffix: of the name, after the block's prefix.
        path: of the submodule that it belongs to, or of itself where it stands alone.
        leaf: `weight`, `bias`, `gain`, `shift`, `average`; empty where it stands alone.
        shape: `[out, in, …]`, after `transposed`.
        transposed: stored as `[in, out]`.
        order: position in the file.
    """

    suffix: str
    path: tuple[str, ...]
    leaf: str
    shape: tuple[int, ...]
    transposed: bool = False
    order: int = 0

    @property
    def last(self) -> str:
        """The last word of the path, in small letters."""
        return self.path[-1].lower() if self.path else ""

    @property
    def natural(self) -> tuple[tuple[int, int, str], ...]:
        """A key that sorts `conv2` before `conv10`."""
        found = re.findall(r"\d+|[^\d]+", "/".join(self.path))
        return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in found)

    @property
    def matrix(self) -> bool:
        """Whether more than one axis has more than one entry; a kernel with one input channel counts."""
        return self.leaf in ("", "weight") and is_matrix(self.shape)

    @property
    def expert(self) -> bool:
        """The experts of a mixture in one tensor, `[experts, out, in]`."""
        return len(self.shape) == 3 and any("expert" in word.lower() for word in self.path)

    @property
    def kernel(self) -> bool:
        """A kernel of a convolution, `[out, in, …]`."""
        return len(self.shape) > 2 and self.matrix and not self.expert and not self.foreign

    @property
    def foreign(self) -> bool:
        """An array of flax with more than two axes: a convolution `[…, in, out]`, or an attention with an axis of heads."""
        return len(self.shape) > 2 and self.suffix.endswith("kernel")

    @property
    def sides(self) -> tuple[int, ...]:
        """The axes of a matrix or kernel that may be the stream's; none of what is neither."""
        if not self.matrix or self.depthwise or self.expert:
            return ()
        return self.shape[:2] if not self.foreign else self.shape[-2:] if len(self.shape) > 3 else ()

    @property
    def depthwise(self) -> bool:
        """A kernel of one input channel each."""
        return len(self.shape) > 2 and self.shape[1] == 1


def is_matrix(shape: Sequence[int]) -> bool:
    """Whether a shape has at least two axes, none of them empty, and is not a vector with axes of length 1 beside it.

    >>> is_matrix((4, 1, 3, 3)), is_matrix((1, 1, 1, 4)), is_matrix((1, 1)), is_matrix((0, 4))
    (True, False, True, False)
    """
    return len(shape) > 1 and min(shape) > 0 and (len(shape) == 2 or sum(size > 1 for size in shape) > 1)


def take_apart(suffix: str, shape: tuple[int, ...], *, order: int = 0) -> Stored:
    """Path, leaf and shape of one tensor.

    >>> take_apart("self_attn.in_proj_weight", (12, 4)).path
    ('self_attn', 'in_proj')
    """
    words = [word for word in re.split(r"[./:]", suffix.lstrip("_-")) if word and word not in WRAPPERS] or ["weight"]
    glued = _GLUED.match(words[-1])
    if glued:
        words[-1:] = [glued[1], glued[2]]
    leaf = LEAVES.get(words[-1].lower(), "")
    if not leaf or (len(words) == 1 and leaf not in words):  # `V` and `W`, not `weight`
        return Stored(suffix, tuple(words), "", shape, order=order)
    return Stored(suffix, tuple(words[:-1]), leaf, shape, order=order)


def oriented(tensors: Sequence[Stored], convolution_classes: frozenset[str] = frozenset()) -> list[Stored]:
    """The tensors with `[in, out]` turned to `[out, in]`.

    What tells: a bias beside the matrix (its length is `out`), the name `kernel`, a fused `c_attn` of shape `[d, 3 d]`, or the class Conv1D
    of transformers; square matrices follow the others of the block.

    Args:
        convolution_classes: suffixes of submodules of the class Conv1D.
    """
    biases = {t.path: t.shape[0] for t in tensors if t.leaf == "bias" and len(t.shape) == 1}
    told = {t.suffix: _turned(t, biases.get(t.path), convolution_classes) for t in tensors}
    rest = any(turned is True for turned in told.values())
    return [_turn(t) if len(t.shape) == 2 and t.matrix and _or(told[t.suffix], rest) else t for t in tensors]


def _or(told: bool | None, rest: bool) -> bool:
    return rest if told is None else told


def _turned(tensor: Stored, bias: int | None, classes: frozenset[str]) -> bool | None:
    """Whether one matrix is stored as `[in, out]`; None where nothing tells."""
    if len(tensor.shape) != 2 or not tensor.matrix:
        return None
    rows, columns = tensor.shape
    if tensor.suffix.endswith("kernel") or ".".join(tensor.path) in classes:
        return True
    if rows != columns and bias in (rows, columns):
        return bias == columns
    if tensor.last == "c_attn" and rows != columns:
        return columns == 3 * rows or None
    return None


def _turn(tensor: Stored) -> Stored:
    shape = (tensor.shape[1], tensor.shape[0])
    return Stored(tensor.suffix, tensor.path, tensor.leaf, shape, transposed=True, order=tensor.order)
