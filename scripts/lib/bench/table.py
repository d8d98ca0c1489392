"""The results as tables: rows of text that are laid out for a terminal or for Markdown."""

from dataclasses import dataclass
from typing import Any

from server import RSCORE
from workloads import WORKLOADS, by_name

MISSING = "-"


@dataclass(frozen=True)
class Table:
    """The first column is text, the others are figures."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def plain(self) -> str:
        widths = [max(len(row[column]) for row in [self.header, *self.rows]) for column in range(len(self.header))]
        lines = [self.title]
        for row in [self.header, *self.rows]:
            first, *rest = row
            cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
            lines.append(("  " + "  ".join(cells)).rstrip())
        return "\n".join(lines)

    def markdown(self) -> str:
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        return "\n".join("| " + " | ".join(row) + " |" for row in [self.header, rule, *self.rows])


def tables(results: dict[str, Any]) -> list[Table]:
    """Every table of a run, in the order in which it is read."""
    found = [workload_table(results, name) for name in results["summary"]]
    found += [lifecycle_table(results), limit_table(results)]
    return [table for table in found if table.rows]


def workload_table(results: dict[str, Any], name: str) -> Table:
    rows = []
    for key, row in results["summary"][name].items():
        if not row["requests"]:
            row = {**row, "p50_ms": None, "p99_ms": None, "cpu_ms_per_request": None}
        rows.append([
            results["servers"][key]["title"],
            rate(row["requests_per_second"]),
            ratio(row["ratio"]),
            figure(row["p50_ms"]),
            figure(row["p99_ms"]),
            figure(row["cpu_ms_per_request"]),
            figure(row["memory_mb"]),
            f"{row['failed']:,}",
        ])  # fmt: skip
    header = ["server", "requests/s", "to best R peer", "p50 ms", "p99 ms", "CPU ms/request", "PSS MB", "failed"]
    return Table(by_name(name).title, header, rows)


def lifecycle_table(results: dict[str, Any]) -> Table:
    rows = []
    for key, row in results["lifecycle"].items():
        lost = MISSING
        if row["failed_under_load"] is not None:
            lost = f"{row['failed_under_load']} of {row['requests_under_load']:,} in {counted(row['kills_under_load'], 'kill')}"
        server = results["servers"][key]["title"]
        rows.append([server, figure(row["first_answer_s"]), figure(row["replace_ms"]), lost])
    header = ["server", "start to first answer, s", "killed worker replaced, ms", "requests lost under load"]
    return Table("Start and recovery", header, rows)


def limit_table(results: dict[str, Any]) -> Table:
    """How much of what R can do on these cores rscore reaches."""
    rows = []
    for workload in WORKLOADS:
        for key, row in results["summary"].get(workload.name, {}).items():
            if results["servers"][key]["kind"] == RSCORE:
                limit = row["limit"] or {"requests_per_second": None, "share": None, "overhead_ms": None}
                rows.append([
                    workload.title,
                    figure(row["batch_rows"]),
                    figure(row["first_process_cpu_ms_per_request"]),
                    figure(row["cpu_ms_per_request"] - row["first_process_cpu_ms_per_request"]),
                    rate(limit["requests_per_second"]),
                    MISSING if limit["share"] is None else f"{100 * limit['share']:.0f} %",
                    figure(limit["overhead_ms"]) if workload.connections == 1 else MISSING,
                ])  # fmt: skip
    header = [
        "rscore",
        "rows per batch",
        "CPU ms/request: front end",
        "R processes",
        "limit, requests/s",
        "reached",
        "p50 beyond R's own time, ms",
    ]
    return Table("rscore and what R can do in process with the batches that occurred", header, rows)


def in_process_table(results: dict[str, Any]) -> Table:
    """Times of calls within R."""
    rows = [
        [f"forest, {counted(int(rows), 'row')}", figure(time), f"{1000 * int(rows) / time:,.0f}"]
        for rows, time in results["limit"]["forest"].items()
    ]
    rows.append(["trivial function", figure(results["limit"]["trivial"]), MISSING])
    return Table("Calls within one R process", ["call", "ms", "rows/s"], rows)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def rate(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def ratio(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.0f}x" if value >= 10 else f"{value:.2f}x"


def figure(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return MISSING
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.4f}" if value else "0"
