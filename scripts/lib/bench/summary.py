"""From measurements to what is reported: medians over the rounds, ratios to the best R
peer of the same run, and how near rscore is to what R itself can do.
"""

from itertools import pairwise
from statistics import median
from typing import Any

from server import RSCORE, WORKERS, R
from workloads import FOREST, WORKLOADS, Workload

MEDIANS = (
    "requests_per_second",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "cpu_ms_per_request",
    "first_process_cpu_ms_per_request",
    "memory_mb",
    "load_cpu_share",
    "foreign_cpu_share",
)

# More than this share of the machine's cores at other work makes a run doubtful.
NOISE = 0.05


def summarise(results: dict[str, Any]) -> dict[str, Any]:
    """Adds "limit", "summary" and "lifecycle" to the results of a run."""
    limits = results["limits"]
    results["limit"] = {
        "forest": {rows: median(limit["forest"][rows] for limit in limits) for rows in limits[0]["forest"]},
        "trivial": median(limit["trivial"] for limit in limits),
    }
    results["summary"] = {
        workload.name: table
        for workload in WORKLOADS
        if (table := summarise_workload(results, workload))
    }
    results["lifecycle"] = {
        key: lifecycle(rows)
        for key in results["servers"]
        if (rows := [start for start in results["starts"] if start["server"] == key])
    }
    return results


def summarise_workload(results: dict[str, Any], workload: Workload) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key in results["servers"]:
        rows = [cell for cell in results["cells"] if cell["server"] == key and cell["workload"] == workload.name]
        if not rows:
            continue
        table[key] = {name: median(row[name] for row in rows) for name in MEDIANS}
        table[key]["failed"] = sum(row["failed"] for row in rows)
        table[key]["requests"] = sum(row["requests"] for row in rows)
        rates = [row["requests_per_second"] for row in rows]
        table[key]["spread"] = [min(rates), max(rates)]
        sizes = [row["batch_rows"] for row in rows if row["batch_rows"] is not None]
        table[key]["batch_rows"] = median(sizes) if sizes else None
        if results["servers"][key]["kind"] == RSCORE:
            table[key]["limit"] = limit_of(results, workload, table[key])
    best = best_peer(results, table)
    for row in table.values():
        row["ratio"] = row["requests_per_second"] / table[best]["requests_per_second"] if best else None
    return table


def best_peer(results: dict[str, Any], table: dict[str, Any]) -> str | None:
    """The R server, other than rscore, that answered most requests."""
    peers = [key for key in table if results["servers"][key]["kind"] == R and table[key]["requests_per_second"] > 0]
    return max(peers, key=lambda key: table[key]["requests_per_second"], default=None)


def limit_of(results: dict[str, Any], workload: Workload, row: dict[str, Any]) -> dict[str, float | None] | None:
    """What R does in process with batches of the size that occurred, on the cores that wrk left.

    One connection keeps one core busy at a time. None for the trivial function, which
    takes R next to no time; without figures where the server did not count its batches.
    """
    if workload.model != FOREST:
        return None
    times = {int(rows): time for rows, time in results["limit"]["forest"].items()}
    overhead = row["p50_ms"] - time_of(times, workload.rows)
    if not row["batch_rows"]:
        return {"requests_per_second": None, "share": None, "overhead_ms": overhead}
    per_core = 1000 * row["batch_rows"] / time_of(times, row["batch_rows"])
    cores = min(results["machine"]["cores"] - row["load_cpu_share"], WORKERS, workload.connections)
    possible = per_core * cores / workload.rows
    return {
        "requests_per_second": possible,
        "share": row["requests_per_second"] / possible,
        "overhead_ms": overhead,
    }


def time_of(times: dict[int, float], rows: float) -> float:
    """Milliseconds for so many rows: between measured sizes on a straight line, beyond the
    largest in proportion."""
    sizes = sorted(times)
    if rows >= sizes[-1]:
        return times[sizes[-1]] * rows / sizes[-1]
    for low, high in pairwise(sizes):
        if rows <= high:
            share = max(0.0, rows - low) / (high - low)
            return times[low] + share * (times[high] - times[low])
    raise ValueError(rows)


def lifecycle(starts: list[dict[str, Any]]) -> dict[str, Any]:
    """Start and recovery of one server, over all rounds; starts with the forest if there are any."""
    forest = [start for start in starts if start["model"] == FOREST] or starts
    kills = [kill for start in forest for kill in start.get("replace_ms", [])]
    loads = [start["kill_under_load"] for start in forest if "kill_under_load" in start]
    return {
        "first_answer_s": median(start["first_answer_s"] for start in forest),
        "replace_ms": median(kills) if kills else None,
        "kills": len(kills),
        "failed_under_load": sum(load["failed"] for load in loads) if loads else None,
        "requests_under_load": sum(load["requests"] for load in loads) if loads else None,
        "kills_under_load": len(loads),
    }


def noise(results: dict[str, Any]) -> float:
    """The largest median share of the cores that other processes took from a cell."""
    return max(row["foreign_cpu_share"] for table in results["summary"].values() for row in table.values())
