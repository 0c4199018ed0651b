"""JSON from other parties: safe parsing, and access by a path."""

import json


def parse_json(body: bytes) -> object:
    """The value. NaN and Infinity are accepted, as in Python. Raises ValueError for no JSON, or too deep nesting."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def at_path(value: object, path: str) -> object:
    """The value at a dotted path, with list elements by their index from 0; None when there is none."""
    for part in path.split("."):
        match value:
            case dict():
                value = value.get(part)
            case list() if part.isascii() and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            case _:
                return None
    return value
