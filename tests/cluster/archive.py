"""Writes a one-layer image as a `docker save` archive with the standard library: for images of one static program.

Must not need an engine, a builder or a network.
"""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from tests.cluster.config import PAUSE_IMAGE
from tests.cluster.paths import HERE, cache
from tests.cluster.shell import run

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's, in the words of image manifests."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def pause_image() -> Path:
    """The archive of the pods' first process, made once per version of its source."""
    source = HERE / "pause.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    image = cache() / "images" / f"pause-{digest}.tar"
    if image.exists():
        return image
    image.parent.mkdir(parents=True, exist_ok=True)
    program = image.with_suffix(".bin")
    run("gcc", "-Os", "-static", "-s", "-o", program, source)
    write_image(image, name=PAUSE_IMAGE, program=program, path="pause")
    program.unlink()
    return image


def write_image(image: Path, *, name: str, program: Path, path: str) -> None:
    """Write the archive `image`: an image called `name` that holds and runs `program` at `/path`."""
    layer = _tar({path: program.read_bytes()}, mode=0o755)
    diff = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": [f"/{path}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{diff}/layer.tar"]}]
    files = {config_name: config, f"{diff}/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    part = image.with_suffix(".part")
    part.write_bytes(_tar(files, mode=0o644))
    part.rename(image)


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    """Owner and time are zero, so that equal content makes an equal image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
