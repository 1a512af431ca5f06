"""The part of JSON Schema that our schemas use, for tests: whether a value is as a schema says."""

from __future__ import annotations

import math
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def problems(value: object, schema: dict[str, Any], at: str = "$", root: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with a value; `root` is where `$ref` looks."""
    root = root or schema
    if "$ref" in schema:
        return problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], at, root)
    if "anyOf" in schema:
        tried = [problems(value, choice, at, root) for choice in schema["anyOf"]]
        return [] if [] in tried else [row for rows in tried for row in rows]
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else (wanted or list(TYPES))
    if not any(isinstance(value, TYPES[name]) for name in names):
        return [f"{at}: {value!r} is not {names}"]
    found = _of_a_scalar(value, schema, at)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
            found.append(f"{at}: {len(value)} items")
        for i, item in enumerate(value):
            found += problems(item, schema.get("items", {}), f"{at}[{i}]", root)
    return found + (_of_an_object(value, schema, at, root) if isinstance(value, dict) else [])


def _of_a_scalar(value: object, schema: dict[str, Any], at: str) -> list[Any]:
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else [value])
    found = [] if value in allowed else [f"{at}: {value!r} is not one of {allowed}"]
    low = isinstance(value, int) and value < schema.get("minimum", -math.inf)
    return [*found, f"{at}: {value!r} is too small"] if low else found


def _of_an_object(value: dict[str, Any], schema: dict[str, Any], at: str, root: dict[str, Any]) -> list[Any]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", False)
    found = [f"{at}: {key} is missing" for key in schema.get("required", []) if key not in value]
    for key in value:
        if key in known or isinstance(others, dict):
            found += problems(value[key], known.get(key, others), f"{at}.{key}", root)
        else:
            found.append(f"{at}: {key} is not known")
    return found
