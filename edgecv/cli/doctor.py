"""`edgecv doctor`: what is installed and what can run here."""

from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from edgecv.cli.app import app
from edgecv.cli.console import JsonPath, Quiet, console, write_json


@app.command()
def doctor(*, json: JsonPath = None, quiet: Quiet = False) -> None:
    """Say what is installed, what can run here, and which command adds what is missing."""
    from edgecv import doctor as examine  # keeps `edgecv --help` quick
    from edgecv.board.findings import jetson_findings

    screen = console(quiet=quiet)
    machine = examine.machine()
    screen.print(", ".join(machine.values()))
    groups = {
        "Packages": examine.packages(),
        "Commands": examine.capabilities(),
        "Backends and devices": examine.backends(),
    }
    if jetson := jetson_findings():
        groups["Jetson"] = jetson
    for title, findings in groups.items():
        table = Table(show_header=False, box=None, pad_edge=False)
        for finding in findings:
            mark = "[green]yes[/]" if finding.is_present else "[yellow]no[/]"
            table.add_row(mark, finding.name, escape(finding.detail), escape(finding.remedy))
        screen.print(title, style="bold")
        screen.print(table)
        screen.print()
    plain = {title: [asdict(finding) for finding in group] for title, group in groups.items()}
    write_json(json, {"machine": machine, **plain})
