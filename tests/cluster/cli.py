"""What a person can do with the cluster from a shell.

Must not hold any logic: a test does the same things through `engine.current()`.
"""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from tests.cluster import engine, images, packages
from tests.cluster.nodes import MOST
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError

app = typer.Typer(no_args_is_help=True, help="A real Kubernetes cluster for the tests.", add_completion=False)
api_server = typer.Typer(no_args_is_help=True, help="Stop and start the API server alone.")
app.add_typer(api_server, name="apiserver")
node = typer.Typer(no_args_is_help=True, help="Add and remove nodes beside the first.")
app.add_typer(node, name="node")


@app.command()
def up(
    count: Annotated[int, typer.Option("--nodes", min=1, max=MOST, help="At least so many; none is removed.")] = 1,
) -> None:
    """Start the cluster, or finish starting it."""
    engine.current().up(count=count)


@app.command()
def down() -> None:
    """Remove the cluster; caches stay."""
    engine.current().down()


@app.command()
def status() -> None:
    """Say what works; ends with 1 unless all does."""
    parts = engine.current().status()
    for name, works in parts.items():
        typer.echo(f"{'✓' if works else '✗'} {name}")
    raise typer.Exit(0 if all(parts.values()) else 1)


@app.command()
def kubeconfig() -> None:
    """Print the path of the administrator's kubeconfig."""
    typer.echo(engine.current().kubeconfig())


@app.command()
def load(archives: list[str]) -> None:
    """Import images: archive files, or tags that have been built."""
    cluster = engine.current()
    for name in archives:
        cluster.load(Path(name) if Path(name).is_file() else name)


@app.command("packages")
def host_packages() -> None:
    """Install the Debian packages that tests need, if this user may; else name them."""
    progress = Progress()
    try:
        packages.ensure(progress=progress)
    except ClusterError as error:
        progress.say(f"tests that need these packages are left out: {error}")


@app.command()
def build() -> None:
    """Build the project's images and load them, unless that is done already."""
    progress = Progress()
    cluster = engine.current(progress=progress)
    for image in images.ALL:
        cluster.provide(image)
        progress.say(f"{image.tag} is in the cluster")


@api_server.command("stop")
def stop() -> None:
    """Connections are refused until it is started again."""
    engine.current().stop_api_server()


@api_server.command("start")
def start() -> None:
    """Wait until it is ready."""
    engine.current().start_api_server()


@node.command("add")
def add() -> None:
    """Add one to the running cluster, and print its name."""
    typer.echo(engine.current().add_node())


@node.command("remove")
def remove(name: str) -> None:
    """Remove one with all that runs on it."""
    engine.current().remove_node(name)


def main() -> None:
    """Ends with 1 and a message that a person can act on, or as Typer does when interrupted or misused."""
    # Like ^C, so that what runs on our behalf is ended too.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except ClusterError as error:
        sys.exit(f"error: {error}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
