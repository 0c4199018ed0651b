"""Values of a specification that cannot be read, for the parts of the core that they concern."""

from resilience.core.model.observation import Resource


def words(resource: Resource) -> str:
    """Everything that is wrong, in words; empty when nothing is."""
    return "; ".join(problem.words for problem in resource.problems)


def lacks(resource: Resource, part: str) -> str:
    """The first thing that is wrong in this part, in words; empty when nothing is."""
    return next((problem.words for problem in resource.problems if problem.part == part), "")


def hidden_dependencies(resource: Resource) -> list[str]:
    """Names of unread checks that may be of a dependency, or the path: nothing is known of that dependency."""
    return [problem.item or f"spec.{problem.part}" for problem in resource.problems if problem.hides_dependency]


def left_out(resource: Resource, part: str) -> frozenset[str]:
    """Names of the checks, policies or flags of this part that are not in force, as far as they have names."""
    return frozenset(problem.item for problem in resource.problems if problem.part == part and problem.item)
