"""The images inside the nodes' containerds: there is no registry, so whatever a pod may need must be put there.

Unpacking takes many seconds. So what the first of the further nodes unpacked is kept as a template, and the next ones
begin with links to its files. Must not build anything; see `buildah` and `archive`.
"""

import hashlib
import shutil
from pathlib import Path

from tests.cluster import processes
from tests.cluster.nodes import FIRST, Node, known
from tests.cluster.paths import STATE
from tests.cluster.shell import run, succeeds

_ARCHIVES = STATE / "archives"
_TEMPLATE = STATE / "template"
_NOTES = "imported"


def answers(node: Node) -> bool:
    """True when the node's containerd does."""
    return succeeds(*_ctr(node), "version")


def everywhere(name: str) -> bool:
    """True when pods can use the image on every node; `name` in full, as in `docker.io/library/shop:dev`."""
    return all(name in run(*_ctr(node), "images", "list", "--quiet").split() for node in _running())


def load(archive: Path) -> None:
    """Import a `docker save` or OCI archive on every node, and on those that join later."""
    kept = _keep(archive)
    for node in _running():
        _import(node, kept)


def complete(node: Node) -> bool:
    """Import what a node lacks of what the first one has. True when there was anything."""
    lacking = [note for note in _noted(FIRST.folder) if note not in _noted(node.folder)]
    for note in lacking:
        _import(node, _ARCHIVES / note.split()[0])
    return bool(lacking)


def begin(node: Node) -> bool:
    """Give a node that has no images yet those of the template. True when it had none; containerd must not run yet."""
    if _root(node).exists():
        return False
    _root(node).parent.mkdir(parents=True, exist_ok=True)
    if _TEMPLATE.exists():
        shutil.copy(_TEMPLATE / _NOTES, node.folder)
        _link_tree(_TEMPLATE / "root", _root(node))
    return True


def make_template(node: Node) -> None:
    """Keep a node's images for the next ones. It must never have run a pod, and its containerd must not run."""
    part = _TEMPLATE.with_suffix(".part")
    for folder in (part, _TEMPLATE):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir()
    shutil.copy(node.folder / _NOTES, part)
    _link_tree(_root(node), part / "root")
    part.rename(_TEMPLATE)


def _running() -> list[Node]:
    """The nodes that can take images now; the others get them when they join."""
    return [node for node in known() if processes.running(node.process("containerd"))]


def _ctr(node: Node) -> tuple[str, ...]:
    return "ctr", "--address", str(node.socket), "--namespace", "k8s.io"


def _root(node: Node) -> Path:
    return node.folder / "cd" / "root"


def _keep(archive: Path) -> Path:
    """A link to the archive: the file itself may be gone when a node joins."""
    _ARCHIVES.mkdir(exist_ok=True)
    kept = _ARCHIVES / f"{hashlib.sha256(str(archive.resolve()).encode()).hexdigest()[:16]}.tar"
    if not (kept.exists() and kept.samefile(archive)):
        kept.unlink(missing_ok=True)
        try:
            kept.hardlink_to(archive)
        except OSError:
            # On another file system.
            shutil.copyfile(archive, kept)
    return kept


def _import(node: Node, archive: Path) -> None:
    """Noted in the order of imports: a later one may replace an image of an earlier one."""
    run(*_ctr(node), "images", "import", archive)
    file = archive.stat()
    others = [note for note in _noted(node.folder) if note.split()[0] != archive.name]
    notes = [*others, f"{archive.name} {file.st_size} {file.st_mtime_ns}"]
    part = node.folder / f".{_NOTES}"
    part.write_text("\n".join(notes))
    part.rename(node.folder / _NOTES)


def _noted(folder: Path) -> list[str]:
    file = folder / _NOTES
    return file.read_text().splitlines() if file.exists() else []


def _link_tree(source: Path, target: Path) -> None:
    """containerd never writes to a layer or a blob again; its databases it does."""
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    run("cp", "--archive", "--link", source, part)
    for database in part.glob("*/*.db"):
        database.unlink()
        shutil.copy2(source / database.relative_to(part), database)
    part.rename(target)
