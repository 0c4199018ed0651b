"""Builds images from Dockerfiles where no Docker engine runs and no registry can be reached.

The base image is made here from Debian packages under the name of the real one, so that the project's Dockerfiles
are built as they are. Must not read or change the host's container configuration or storage: all is in the cache.
"""

import hashlib
import json
import os
from pathlib import Path

from tests.cluster import content
from tests.cluster.images import Image
from tests.cluster.paths import cache
from tests.cluster.progress import Progress
from tests.cluster.shell import exclusive, run, succeeds

BASE = "docker.io/library/python:3.13-slim"
# The Debian release whose python3 is 3.13.
_RELEASE = "trixie"
_HOOK = """
for name in python python3; do ln -s /usr/bin/python3 "$1/usr/local/bin/$name"; done
ln -s /usr/bin/pip3 "$1/usr/local/bin/pip"
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
"""
_MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=python3,python3-venv,python3-pip,ca-certificates",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    f"--customize-hook={_HOOK}",
    _RELEASE,
)
_CONTAINERFILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin LANG=C.UTF-8
CMD ["python3"]
"""
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def build(image: Image, *, progress: Progress) -> Path:
    """Build an image unless nothing in it changed; return it as a `docker save` archive."""
    if image.base is not None:
        build(image.base, progress=progress)
    archive, known = archive_of(image.tag), _digest_file(image.tag)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(cache() / "buildah.lock"):
        digest = digest_of(image)
        if archive.exists() and known.exists() and known.read_text() == digest:
            return archive
        # A cut build leaves its working container, mounted.
        run(*_buildah("rm", "--all"))
        _ensure_base(progress=progress)
        progress.run(
            f"build {image.tag}",
            *_buildah("build", "--layers", "--pull-never", *_policy(), *_trust()),
            *("--tag", image.tag, "--file", image.dockerfile, image.context),
            env=_ENVIRONMENT,
        )
        known.unlink(missing_ok=True)
        archive.unlink(missing_ok=True)
        part = archive.with_suffix(".part")
        part.unlink(missing_ok=True)
        target = f"docker-archive:{part}:{image.tag}"
        progress.run(f"export {image.tag}", *_buildah("push", *_policy(), image.tag, target))
        part.rename(archive)
        known.write_text(digest)
    return archive


def archive_of(tag: str) -> Path:
    """Where the archive of a built image is."""
    return cache() / "images" / f"{tag.replace('/', '_').replace(':', '_')}.tar"


def digest_of(image: Image) -> str:
    """Changes with everything that the image is made of."""
    salt = _recipe() if image.base is None else digest_of(image.base)
    return content.digest(context=image.context, dockerfile=image.dockerfile, salt=salt)


_ENVIRONMENT = {"BUILDAH_ISOLATION": "chroot"}


def _digest_file(tag: str) -> Path:
    return archive_of(tag).with_suffix(".sha256")


def _recipe() -> str:
    return hashlib.sha256("\n".join((*_MMDEBSTRAP, _CONTAINERFILE)).encode()).hexdigest()[:12]


def _ensure_base(*, progress: Progress) -> None:
    """The stand-in for BASE: as in the real one, python3 is found at /usr/local/bin, and pip may install anywhere."""
    marker = f"localhost/base:{_recipe()}"
    if succeeds(*_buildah("inspect", "--type=image", marker)):
        return
    folder = cache() / "base" / _recipe()
    folder.mkdir(parents=True, exist_ok=True)
    tar = folder / "base.tar"
    if not tar.exists():
        # The suffix tells mmdebstrap which format to write.
        part = folder / "part.tar"
        progress.run(f"stand-in for {BASE}: packages", *_MMDEBSTRAP, part)
        part.rename(tar)
    file = folder / "Containerfile"
    file.write_text(_CONTAINERFILE)
    progress.run(
        f"stand-in for {BASE}: image",
        *_buildah("build", "--pull-never", *_policy(), "--tag", BASE, "--tag", marker, "--file", file, folder),
        env=_ENVIRONMENT,
    )


def _buildah(command: str, *options: str | Path) -> tuple[str | Path, ...]:
    root = cache() / "buildah"
    registries = root / "registries.conf"
    if not registries.exists():
        registries.parent.mkdir(parents=True, exist_ok=True)
        registries.write_text("unqualified-search-registries = []\n")
    return (
        *("buildah", "--root", root / "storage", "--runroot", root / "run"),
        *("--registries-conf", registries, command, *options),
    )


def _policy() -> tuple[str, str]:
    """Nothing is pulled, so there is no signature to check; but without a policy buildah does nothing at all."""
    file = cache() / "buildah" / "policy.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    return "--signature-policy", str(file)


def _trust() -> tuple[str, ...]:
    """Behind a proxy that inspects TLS, `pip install` in a build step needs the host's CA bundle."""
    bundle = os.environ.get("SSL_CERT_FILE")
    return ("--volume", f"{bundle}:{_CA_BUNDLE}:ro") if bundle else ()
