"""The answer to a query that may not be sent."""

from resilience.ports import Refused


class QueryRefused(Refused):
    """The query may not be sent. The message says what to change in it."""
