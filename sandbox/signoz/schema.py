"""Checks a body against the published schema of SigNoz's API, more strictly than SigNoz: no unknown field passes.

SigNoz itself drops what it does not know in a rule, so a mistyped field would be lost without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMAS: Mapping[str, Mapping[str, Any]] = json.loads((Path(__file__).parent / "schema.json").read_text("utf-8"))[
    "schemas"
]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def faults(name: str, body: object) -> list[str]:
    """What is wrong with `body` as a `name` of the schema, one line each with the path of the field."""
    return list(_faults(SCHEMAS[name], body, ""))


def _faults(schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _faults(SCHEMAS[schema["$ref"]], value, path)
    elif "by" in schema:
        yield from _variant(schema, value, path)
    elif "oneOf" in schema:
        if all(list(_faults(choice, value, path)) for choice in schema["oneOf"]):
            yield f"{path}: has none of the allowed types"
    elif value is None:
        if not schema.get("nullable"):
            yield f"{path}: must not be null"
    else:
        yield from _plain(schema, value, path)


def _variant(schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    """One of several shapes: the field named by `by` says which."""
    field, variants = schema["by"], schema["variants"]
    if not isinstance(value, dict):
        yield f"{path}: must be an object"
    elif field not in value:
        yield f"{_join(path, field)}: field is required"
    elif value[field] not in variants:
        yield f"{_join(path, field)}: unsupported value {json.dumps(value[field])}; must be one of {_listed(variants)}"
    else:
        yield from _faults(SCHEMAS[variants[value[field]]], value, path)


def _plain(schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    expected = schema.get("type")
    if expected and (not isinstance(value, _TYPES[expected]) or (isinstance(value, bool) and expected != "boolean")):
        yield f"{path}: must be of type {expected}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: unsupported value {json.dumps(value)}; must be one of {_listed(schema['enum'])}"
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        yield f"{path}: must not be empty"
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        yield f"{path}: must be at least {schema['minimum']}"
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _faults(schema["items"], item, f"{path}[{index}]")
    if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
        yield from _fields(schema, value, path)


def _fields(schema: Mapping[str, Any], value: Mapping[str, object], path: str) -> Iterator[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for field in schema.get("required", ()):
        if field not in value:
            yield f"{_join(path, field)}: field is required"
    for field, item in value.items():
        if field in properties:
            yield from _faults(properties[field], item, _join(path, field))
        elif isinstance(others, Mapping):
            yield from _faults(others, item, _join(path, field))
        else:
            yield f'{path or "body"}: json: unknown field "{field}"'


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)
