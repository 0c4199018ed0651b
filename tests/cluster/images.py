"""The images that the end-to-end tests run, and what it means to build one.

Must not know which builder or cluster is used; see `local` and `kind`.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import PROJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`tag` in full, as pods must name it where there is no registry: `docker.io/library/shop:dev`."""

    tag: str
    context: Path
    dockerfile: Path


OPERATOR = Image(
    tag="docker.io/library/resilience-operator:dev",
    context=PROJECT,
    dockerfile=PROJECT / "Dockerfile",
)
SHOP = Image(
    tag="docker.io/library/shop:dev",
    context=PROJECT / "examples" / "shop",
    dockerfile=PROJECT / "examples" / "shop" / "Dockerfile",
)
# Under the name that examples/shop/k8s/redis.yaml gives it.
REDIS = Image(
    tag="docker.io/library/redis:7-alpine",
    context=PROJECT / "tests" / "cluster" / "redis",
    dockerfile=PROJECT / "tests" / "cluster" / "redis" / "Dockerfile",
)
# Only the test that needs it loads it.
DJANGO = Image(
    tag="docker.io/library/django-app:dev",
    context=PROJECT / "tests" / "cluster" / "django_app",
    dockerfile=PROJECT / "tests" / "cluster" / "django_app" / "Dockerfile",
)
ALL = (OPERATOR, SHOP, REDIS)
