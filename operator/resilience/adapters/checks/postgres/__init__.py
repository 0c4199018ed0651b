"""Checks of PostgreSQL."""

from typing import Final

# The subject of messages.
DESCRIPTION: Final = "PostgreSQL"
