"""Refusals of the API server, as a decision sees them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiRefusal:
    """The API server's refusal of the last action, in its own words. `of_candidate`: it refused to create green."""

    message: str
    of_candidate: bool = False

    def __str__(self) -> str:
        return f"the candidate cannot be made: {self.message}" if self.of_candidate else self.message
