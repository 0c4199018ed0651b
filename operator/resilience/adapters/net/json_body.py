"""JSON that somebody else sent: parsed without harm, and looked into by a path."""

import json


def parse_json(body: bytes) -> object:
    """The value. NaN and Infinity are taken as Python takes them. Raises ValueError when it is none, or too deep."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def at_path(value: object, path: str) -> object:
    """What lies at a path by dots, elements of lists by their number from 0; None when nothing does."""
    for part in path.split("."):
        match value:
            case dict():
                value = value.get(part)
            case list() if part.isascii() and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            case _:
                return None
    return value
