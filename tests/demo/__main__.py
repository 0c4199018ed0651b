"""`python -m tests.demo`: sets everything up, shows the acts one by one, says what came of it and cleans up.

It must show what happens, never stage it: every figure comes from the cluster or from the load client.
KEEP=1 leaves the cluster as it is at the end, to look around. PICTURES=docs/pictures draws those of the docs again.
"""

import os
import sys
from time import monotonic

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from monitoring import pictures
from tests.cluster import engine, images
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError
from tests.demo import acts
from tests.demo.look import looking
from tests.demo.stage import Stage
from tests.support.recorder import recording


def main() -> int:
    """Runs the demo; 0 when every act ended as promised."""
    console = Console(highlight=False)
    progress = Progress(console)
    console.print(Panel("[bold]The Resilience Operator[/]\nA shop under load, on a real Kubernetes cluster"))
    begun = monotonic()
    cluster = engine.current(progress=progress)
    was_up = all(cluster.status().values())
    with recording() as oncall:
        stage = Stage(console, progress, cluster, oncall)
        try:
            cluster.up()
            for image in images.ALL:
                cluster.provide(image)
            stage.install()
            with looking(stage) as prometheus:
                verdicts = [act(stage) for act in acts.ALL]
                if prometheus:
                    verdicts.append(acts.dashboards(stage, prometheus))
                if prometheus and (folder := os.environ.get("PICTURES")):
                    pictures.main([f"--prometheus={prometheus}", f"--folder={folder}"])
            _verdict(console, verdicts, monotonic() - begun)
            return 0 if all(verdict.kept for verdict in verdicts) else 1
        except (ClusterError, TimeoutError) as error:
            console.print(f"[red]✗[/] {error}", soft_wrap=True)
            return 1
        finally:
            _leave(stage, was_up=was_up)


def _leave(stage: Stage, *, was_up: bool) -> None:
    if os.environ.get("KEEP"):
        stage.console.print(f"Left as it is. Look around:  export KUBECONFIG={stage.cluster.kubeconfig()}")
    elif was_up:
        stage.uninstall()
    else:
        stage.cluster.down()


def _verdict(console: Console, verdicts: list[acts.Verdict], seconds: float) -> None:
    table = Table("act", "promised", "seen", "", title="Verdict", title_justify="left")
    for verdict in verdicts:
        table.add_row(verdict.act, verdict.promised, verdict.seen, "[green]✓[/]" if verdict.kept else "[red]✗[/]")
    console.print()
    console.print(table)
    console.print(f"[dim]{seconds:.0f} s in all. Next: README.md, or KEEP=1 make demo to look around.[/]")


if __name__ == "__main__":
    sys.exit(main())
