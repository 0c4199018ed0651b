"""Request headers in the form that Secrets have: one `Name: value` per line."""


def parse_headers(text: str) -> list[tuple[str, str]]:
    """Names and values in their order, without surrounding spaces. Raises ValueError, whose text quotes no input."""
    headers = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError("headers are one `Name: value` a line")
        headers.append((name.strip(), value.strip()))
    return headers
