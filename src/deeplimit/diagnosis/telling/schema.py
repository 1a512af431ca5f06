"""The JSON Schema of a diagnosis (docs/diagnosis.schema.json is this one, written out)."""

from __future__ import annotations

from typing import Any, get_args

from deeplimit.diagnosis.blocks.group import Part
from deeplimit.diagnosis.report import FORMAT, Answer, FindingKind, FunctionLabel, Question, WeightsLabel
from deeplimit.regimes.precheck import State
from deeplimit.regimes.verdict import Order

_TEXT = {"type": "string"}
_NUMBER = {"type": ["number", "null"]}
_COUNT = {"type": "integer", "minimum": 0}


def _object(title: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these members."""
    required = list(properties)
    return {
        "type": "object",
        "description": title,
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _map(item: dict[str, Any], description: str) -> dict[str, Any]:
    """An object with members of any name and one kind."""
    return {"type": "object", "additionalProperties": item, "description": description}


def _list(item: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": item, "description": description}


def _ref(name: str, *, null: bool = False) -> dict[str, Any]:
    found = {"$ref": f"#/$defs/{name}"}
    return {"anyOf": [found, {"type": "null"}]} if null else found


def _said(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return schema | {"description": description}


_CURVES = _map(_list(_NUMBER, "in the order of depth"), "name -> a number for each block, state or pair of neighbours")

_DEFINITIONS: dict[str, Any] = {
    "measured": _object(
        "a number with its interval",
        value=_NUMBER,
        low=_NUMBER,
        high=_NUMBER,
        sample=_said(_COUNT, "independent values behind it"),
        note=_said(_TEXT, "how the interval was made"),
    ),
    "order": _object(
        "whether the order of the blocks matters, and how rough the path is",
        label={"enum": list(get_args(Order))},
        ratio=_said(_NUMBER, "squared increments over squared distances from the mean: near 2 for a random order"),
        p_value=_said(_NUMBER, "share of random orders with a ratio as small"),
        roughness=_ref("measured", null=True),
        reason=_said(_TEXT, "what was found before any statistic; empty where all of them were taken"),
        state={"enum": list(get_args(State))},
    ),
    "profile": _object(
        "numbers of one role or pair over depth",
        name=_said(_TEXT, "of the role or pair"),
        part={"enum": list(get_args(Part))},
        view={"enum": ["raw", "aligned", "invariant"]},
        shape=_list(_COUNT, "of one block's tensor"),
        curves=_CURVES,
        order=_ref("order", null=True),
        numbers=_map(_NUMBER, "name -> one number for the group"),
    ),
    "passage": _object(
        "how a batch passes through",
        inputs=_said(_COUNT, "number of samples"),
        curves=_CURVES,
        numbers=_map(_ref("measured"), "name -> one number for the whole group"),
    ),
    "finding": _object(
        "something about single blocks that a person should look at",
        kind={"enum": list(get_args(FindingKind))},
        blocks=_list(_COUNT, "their numbers in the group, from 0"),
        where=_said(_TEXT, "role, pair or part"),
        reason=_TEXT,
        strength=_said(_NUMBER, "in units of the threshold, at least 1"),
    ),
    "consequence": _object(
        "what may be done with the network",
        question={"enum": list(get_args(Question))},
        answer={"enum": list(get_args(Answer))},
        reason=_TEXT,
    ),
    "left_out": _object("a block or tensor that does not take part", name=_TEXT, reason=_TEXT),
}


def _verdict(labels: tuple[str, ...], description: str) -> dict[str, Any]:
    return _object(
        description,
        label={"enum": list(labels)},
        reason=_said(_TEXT, "in words; for `undecided`, what is missing"),
        change=_said(_TEXT, "what would change it"),
        evidence=_map(_ref("measured"), "name -> number"),
    )


_GROUP = _object(
    "one group of blocks of equal structure",
    name=_TEXT,
    blocks=_list(_TEXT, "prefixes of the blocks, in the order of depth"),
    stream={"type": ["integer", "null"], "description": "width of the residual stream, where the shapes tell"},
    weights=_verdict(get_args(WeightsLabel), "verdict on the weights"),
    function=_verdict(get_args(FunctionLabel), "verdict on the function"),
    profiles=_list(_ref("profile"), "of roles and pairs"),
    passage=_ref("passage", null=True),
    findings=_list(_ref("finding"), "as they were found"),
    consequences=_list(_ref("consequence"), "of both verdicts"),
    left_out=_list(_ref("left_out"), "what is not part of the group, and why"),
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A diagnosis of deeplimit",
    "$defs": _DEFINITIONS | {"group": _GROUP},
    **_object(
        "which regime a trained network is in, and whether its depth is used",
        format={"const": FORMAT},
        target=_said(_TEXT, "what was diagnosed"),
        groups=_list(_ref("group"), "deepest first"),
        notes=_list(_TEXT, "what a reader should know of how it was read"),
    ),
}
