"""Calico's selectors: what they match, and which labels they depend on."""

import pytest

from resilience.adapters.kube import calico_selector

LABELS = {"app": "web", "tier": "front-end", "example.com/team": "shop"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("all()", True),
        ("global()", True),
        ("app == 'web'", True),
        ('app == "web"', True),
        ("app != 'web'", False),
        ("nothing != 'web'", True),
        ("has(app)", True),
        ("!has(app)", False),
        ("app in {'api', 'web'}", True),
        ("app not in {'api', 'web'}", False),
        ("app in {}", False),
        ("tier contains 'ont'", True),
        ("tier starts with 'front'", True),
        ("tier ends with 'front'", False),
        ("example.com/team == 'shop'", True),
        ("app == 'api' || app == 'web' && has(tier)", True),
        ("(app == 'api' || app == 'web') && !has(tier)", False),
        ("!(app == 'api')", True),
    ],
)
def test_a_selector_matches_as_calico_has_it(text: str, matches: bool) -> None:
    assert calico_selector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("app == 'web' && has(tier)", {"app", "tier"}),
        ("app == 'api' && has(tier)", set()),
        # Matches as soon as the label is another one.
        ("app != 'web'", {"app"}),
        ("all()", set()),
    ],
)
def test_labels_whose_change_would_count_are_used(text: str, used: set[str]) -> None:
    assert calico_selector.parse(text).used(LABELS) == used


@pytest.mark.parametrize("text", ["app ==", "== 'x'", "app = 'x'", "(all()", "app == 'x' tier", "has(app", "(" * 60])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        calico_selector.parse(text)
