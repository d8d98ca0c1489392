"""What a run found, as tables for a terminal or for docs/chaos.md."""

from collections import Counter
from typing import Any

from table import Table

MIB = 2**20


def failures(results: dict[str, Any]) -> list[str]:
    """What must not be; nothing when the run is passed."""
    found = [f"{count} times {what}" for what, count in results["lost"].items()]
    if results["wrong"]:
        found.append(f"{results['wrong']} wrong answers")
    if not results["right"]:
        found.append("no request was answered")
    found += [f"a fault could not be injected: {failure}" for failure in results["fault_failures"]]
    found += [f"growth: {growth}" for growth in results["growth"]]
    if results["zombies_at_end"]:
        found.append(f"{results['zombies_at_end']} zombies at the end")
    if results["exit_status"] != 0:
        found.append(f"the server ended with status {results['exit_status']}")
    if results["left_behind"]:
        found.append(f"{results['left_behind']} processes were left behind")
    return found


def tables(results: dict[str, Any]) -> list[Table]:
    return [requests(results), own(results), faults(results), over_time(results)]


def requests(results: dict[str, Any]) -> Table:
    milliseconds = results["milliseconds"]
    rows = [
        ["sent", number(results["sent"])],
        ["answered with R's numbers, bit for bit", number(results["right"])],
        ["wrong answers", number(results["wrong"])],
        ["errors that the request earned", number(sum(results["own"].values()))],
        ["errors that no request earned", number(sum(results["lost"].values()))],
        ["callers that left", number(results["left"])],
        ["requests per second", number(round(results["sent"] / results["seconds"]))],
        *([name, f"{value:,.0f} ms"] for name, value in milliseconds.items()),
    ]
    return Table("Requests", ["", ""], rows)


def own(results: dict[str, Any]) -> Table:
    rows = [[what, number(count)] for what, count in sorted(results["own"].items())]
    return Table("Errors that the request earned", ["request, status", "times"], rows)


def faults(results: dict[str, Any]) -> Table:
    rows = [[what, number(count)] for what, count in sorted(results["faults"].items())]
    for label, name in (("worker started", "starts"), ("worker ended", "deaths")):
        rows += [[f"{label}: {reason}", number(count)] for reason, count in sorted(results[name].items())]
    rows += [["server's exit status", str(results["exit_status"])], ["processes left behind", str(results["left_behind"])]]
    return Table("Faults", ["", "times"], rows)


def over_time(results: dict[str, Any]) -> Table:
    quarters = results["quarters"]
    measures = [
        ("resident memory of the server, MiB", lambda quarter: f"{quarter['rss_bytes'] / MIB:.0f}"),
        ("descriptors of the server", lambda quarter: f"{quarter['descriptors']:.0f}"),
        ("threads of the server", lambda quarter: f"{quarter['threads']:.0f}"),
        ("memory of all processes (PSS), MiB", lambda quarter: f"{quarter['pss_bytes'] / MIB:.0f}"),
        ("workers", lambda quarter: f"{quarter['workers']:.0f}"),
        ("zygotes", lambda quarter: f"{quarter['zygotes']:.0f}"),
        ("zombies", lambda quarter: f"{quarter['zombies']:.0f}"),
    ]
    header = ["median of each quarter", *(f"{part}." for part in range(1, len(quarters) + 1))]
    return Table("Over time", header, [[title, *map(show, quarters)] for title, show in measures])


def number(value: int) -> str:
    return f"{value:,}"


def named(counter: Counter) -> dict[str, int]:
    """With keys that JSON has."""
    return {", ".join(str(part) for part in key): count for key, count in counter.items()}


def document(results: dict[str, Any]) -> str:
    """The measured part of docs/chaos.md."""
    machine = results["machine"]
    found = failures(results)
    lines = [
        f"{results['date']}, rscore at commit {results['revision']}, {machine['cores']} cores"
        f" ({machine['processor']}), {machine['system']}, R {machine['r']}.",
        f"Command: `{results['command']}`.",
        "",
        "**Nothing was lost and nothing was wrong.**" if not found else "**Found:** " + "; ".join(found) + ".",
        "",
    ]
    for table in tables(results):
        lines += [f"### {table.title}", "", table.markdown(), ""]
    return "\n".join(lines)
