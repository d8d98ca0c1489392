"""What is asked of every server: which model, how many rows, how many connections.

The list is the one of the targets in docs/benchmarks.md; names are what `--only` takes.
"""

from dataclasses import dataclass

# A random forest with 100 trees on the 13 columns of MASS::Boston.
FOREST = "forest"
# A function that returns a constant: what is left is the server's own cost.
TRIVIAL = "trivial"


@dataclass(frozen=True)
class Workload:
    """One cell of the comparison."""

    name: str
    title: str
    model: str
    # Rows in each request.
    rows: int
    # Connections that each send their next request when the last was answered.
    connections: int


WORKLOADS = (
    Workload("forest-1x1", "forest, 1 row, 1 connection", FOREST, 1, 1),
    Workload("forest-1x16", "forest, 1 row, 16 connections", FOREST, 1, 16),
    Workload("forest-1x64", "forest, 1 row, 64 connections", FOREST, 1, 64),
    Workload("forest-1000x16", "forest, 1000 rows, 16 connections", FOREST, 1000, 16),
    Workload("trivial-1x64", "trivial function, 1 row, 64 connections", TRIVIAL, 1, 64),
)


def by_name(name: str) -> Workload:
    """The workload of that name; KeyError without one."""
    return {workload.name: workload for workload in WORKLOADS}[name]
