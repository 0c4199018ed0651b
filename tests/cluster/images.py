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
    # The image of this list that it is made from: it is built before, and again when that one changes.
    base: "Image | None" = None


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


def _own(name: str, *, tag: str, base: Image | None = None) -> Image:
    """An image of a folder beside this file."""
    folder = PROJECT / "tests" / "cluster" / name
    return Image(tag=f"docker.io/library/{tag}", context=folder, dockerfile=folder / "Dockerfile", base=base)


# Only some tests need these, and provide them; so they do `httpbin.image`, whose program has to be built first.
LATER = _own("later", tag="resilience-operator:later", base=OPERATOR)
NGINX = _own("nginx", tag="nginx:dev")
STEPPING_CLOCK = _own("stepping_clock", tag="resilience-operator:stepping-clock", base=OPERATOR)
