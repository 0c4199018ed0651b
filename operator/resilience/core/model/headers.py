"""Request headers as Secrets hold them, one `Name: value` a line."""


def parse_headers(text: str) -> list[tuple[str, str]]:
    """Names and values in their order, without surrounding spaces. Raises ValueError, whose words quote nothing."""
    found = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError("headers are one `Name: value` a line")
        found.append((name.strip(), value.strip()))
    return found
