"""What the figures were measured on, without anything that names the machine."""

import os
from pathlib import Path

from server import output


def describe() -> dict[str, object]:
    """Processor, cores, memory, system, and versions of what every peer shares."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "system": system(),
        "kernel": os.uname().release.split("-")[0],
        "r": output(["Rscript", "--vanilla", "-e", "cat(as.character(getRversion()))"]),
        "randomForest": output(["Rscript", "--vanilla", "-e", 'cat(as.character(packageVersion("randomForest")))']),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


def system() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return "Linux"


def revision(root: Path) -> str:
    """The commit that is measured, marked when the sources differ from it."""
    commit = output(["git", "rev-parse", "--short", "HEAD"], directory=root)
    changed = output(["git", "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock", "build.rs"], directory=root)
    return commit + (" with changes" if changed else "")
