"""Queries, keys, values and outputs among the matrices of a block, stored apart or fused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeplimit.diagnosis.blocks.group import LeftOut, Pair, Role
from deeplimit.diagnosis.blocks.words import (
    BY_HEAD,
    CROSS,
    FUSED,
    FUSED_KEY_VALUE,
    GROUPED,
    KEY,
    OUTPUT,
    QUERY,
    UNKNOWN_ORDER,
    VALUE,
    Stored,
)

Rows = tuple[tuple[int, int], ...]
_KINDS = {"query": QUERY, "key": KEY, "value": VALUE, "fused": FUSED, "key and value": FUSED_KEY_VALUE}
_COMPLETE = ({"query", "key", "value"}, {"query", "key and value"}, {"fused"})
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads")


@dataclass(frozen=True)
class Found:
    """Roles and pairs found so far, and what was left out."""

    roles: Sequence[Role] = ()
    pairs: Sequence[Pair] = ()
    left_out: Sequence[LeftOut] = field(default=())

    def __add__(self, other: Found) -> Found:
        """Both, one after the other."""
        return Found([*self.roles, *other.roles], [*self.pairs, *other.pairs], [*self.left_out, *other.left_out])

    @property
    def used(self) -> set[str]:
        """Suffixes of the tensors that have a role."""
        return {role.suffix for role in self.roles}


@dataclass(frozen=True)
class _Module:
    """The matrices of one attention, by kind."""

    path: tuple[str, ...]
    kinds: Mapping[str, Stored]
    output: Stored | None


def find_attention(matrices: Sequence[Stored], config: Mapping[str, Any]) -> Found:
    """Roles `attention.query`, `.key`, `.value`, `.output`; pairs `attention.scores`, `attention.values`.

    Args:
        matrices: of a block, turned to `[out, in]`.
        config: for the number of heads.
    """
    modules = list(_modules([t for t in matrices if len(t.shape) == 2]))
    found = Found()
    for module, label in zip(modules, _labels(modules), strict=True):
        found += _attention(module, label, config)
    return found


def _modules(matrices: Sequence[Stored]) -> Iterator[_Module]:
    scopes: dict[tuple[str, ...], dict[str, Stored]] = {}
    for tensor in matrices:
        kind = next((kind for kind, words in _KINDS.items() if tensor.last in words), None)
        if kind is not None:
            scopes.setdefault(tensor.path[:-1], {})[kind] = tensor
    by_path = {t.path: t for t in matrices}
    for path, kinds in scopes.items():
        if any(complete <= kinds.keys() for complete in _COMPLETE):
            module = _Module(path, kinds, _output(path, by_path, kinds))
            if "fused" not in kinds or _plausible(kinds["fused"], module.output):
                yield module


def _output(
    path: tuple[str, ...], matrices: Mapping[tuple[str, ...], Stored], kinds: Mapping[str, Stored]
) -> Stored | None:
    """The matrix that writes what an attention gives: beside the queries, or beside the submodule that holds them."""
    taken = {t.path for t in kinds.values()}
    bases = (path, path[:-1]) if path else (path,)
    found = [t for t in matrices.values() if t.path not in taken]
    return next((t for base in bases for t in found if base == t.path[: len(base)] and _rest(t, base) in OUTPUT), None)


def _rest(tensor: Stored, base: tuple[str, ...]) -> str:
    return ".".join(tensor.path[len(base) :]).lower()


def _plausible(fused: Stored, output: Stored | None) -> bool:
    """Whether a fused matrix has rows for queries, keys and values; an `in_proj` of a state space model has not."""
    if fused.last != "in_proj":
        return True
    return output is not None and fused.shape[0] == 3 * output.shape[1]


def _labels(modules: Sequence[_Module]) -> list[str]:
    """`attention` and `cross`, or the submodules' names where that would not tell them apart."""
    labels = ["cross" if CROSS.search("/".join(module.path)) else "attention" for module in modules]
    paths = [".".join(module.path) for module in modules]
    return [path if labels.count(label) > 1 and path else label for label, path in zip(labels, paths, strict=True)]


def _attention(module: _Module, label: str, config: Mapping[str, Any]) -> Found:
    parts: dict[str, Role] = {}
    for kind, tensor in module.kinds.items():
        cut = _cut(tensor, kind, module.output, config)
        if isinstance(cut, str):
            whole = Role(f"{label}.fused", "attention", "reads", tensor.suffix, tensor.shape, tensor.transposed)
            return Found([whole, *_written(module, label)], left_out=[LeftOut(tensor.suffix, cut)])
        for name, rows in cut.items():
            count = sum(end - start for start, end in rows) if rows else tensor.shape[0]
            shape = (count, tensor.shape[1])
            parts[name] = Role(
                f"{label}.{name}", "attention", "reads", tensor.suffix, shape, tensor.transposed, rows=rows
            )
    written = list(_written(module, label))
    return Found([*parts.values(), *written]) + _paired(label, parts, written)


def _written(module: _Module, label: str) -> Iterator[Role]:
    output = module.output
    if output is not None:
        yield Role(f"{label}.output", "attention", "writes", output.suffix, output.shape, output.transposed)


def _paired(label: str, parts: Mapping[str, Role], written: Sequence[Role]) -> Found:
    query, key, value = parts["query"], parts["key"], parts["value"]
    pairs, notes = [], []
    if query.shape[0] == key.shape[0]:
        pairs.append(Pair(f"{label}.scores", "attention", query.name, key.name, scores=True))
    else:
        reason = f"no pair: several queries share a key, {query.shape[0]} rows against {key.shape[0]}"
        notes.append(LeftOut(f"{label}.scores", reason))
    if written and value.shape[0] == written[0].shape[1]:
        pairs.append(Pair(f"{label}.values", "attention", value.name, written[0].name))
    elif written:
        reason = f"no pair: several heads share values, {value.shape[0]} rows against {written[0].shape[1]} columns"
        notes.append(LeftOut(f"{label}.values", reason))
    else:
        notes.append(LeftOut(f"{label}.values", "no pair: no matrix that writes the output was recognised"))
    return Found(pairs=pairs, left_out=notes)


# ---------------------------------------------------------------------------------------------------------------- fused


def _cut(tensor: Stored, kind: str, output: Stored | None, config: Mapping[str, Any]) -> dict[str, Rows] | str:
    """Which rows of a matrix are queries, keys and values; or why that is not known."""
    rows = tensor.shape[0]
    if kind == "key and value":
        return {"key": ((0, rows // 2),), "value": ((rows // 2, rows),)}
    if kind != "fused":
        return {kind: ()}
    if config.get("model_type") in UNKNOWN_ORDER:
        return "queries, keys and values are fused in an order of this model's own"
    width = rows // 3 if output is None else output.shape[1]
    if tensor.last in BY_HEAD:
        return _by_head(rows, width, config)
    if rows == 3 * width:
        return _ranges(width, width)
    if tensor.last in GROUPED and rows > width and (rows - width) % 2 == 0:
        return _ranges(width, (rows - width) // 2)
    return f"queries, keys and values are fused, {rows} rows for {width} columns of the output: not told apart"


def _ranges(queries: int, keys: int) -> dict[str, Rows]:
    return {
        "query": ((0, queries),),
        "key": ((queries, queries + keys),),
        "value": ((queries + keys, queries + 2 * keys),),
    }


def _by_head(rows: int, width: int, config: Mapping[str, Any]) -> dict[str, Rows] | str:
    """Rows stored head by head: queries, keys and values of the first head, then of the second one."""
    heads = next((config[key] for key in _HEADS if isinstance(config.get(key), int)), None)
    if rows != 3 * width:
        return f"queries, keys and values are fused, {rows} rows for {width} columns of the output: not told apart"
    if heads is None or heads < 1 or width % heads:
        return "queries, keys and values are fused head by head, and the number of heads is not known: not told apart"
    size = width // heads
    starts = [3 * size * head for head in range(heads)]
    return {
        name: tuple((start + at * size, start + (at + 1) * size) for start in starts)
        for at, name in enumerate(("query", "key", "value"))
    }
