"""Where pages are run: a copy of the checkout, on a network of their own.

Pages name fixed ports. In a network namespace these are free, whatever else runs on the
machine, and nothing is reached but what the page has started.
"""

import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# From the kernel's headers: set the flags of an interface, and that it is up.
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def enter_network() -> None:
    """Starts this program again in a network namespace with nothing but loopback."""
    if os.environ.pop("DOCS_NETWORK", None):
        with socket.socket() as anything:
            fcntl.ioctl(anything, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
        return
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
        os.environ["DOCS_NETWORK"] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    print("there are no network namespaces here: the pages use ports 8443 and 9090 of this machine")


def copy_checkout(to: pathlib.Path) -> None:
    """What git has, and the models that scripts/train has made."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, files.stdout.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name)
    for made in ("models", ".cache/train"):
        shutil.copytree(ROOT / made, to / made, dirs_exist_ok=True)


def environment(home: pathlib.Path) -> dict[str, str]:
    """The binary of the tests and their Python first on the path; no settings of the caller."""
    programs = home / "bin"
    programs.mkdir(parents=True)
    (programs / "rscore").symlink_to(TARGET / "debug" / "rscore")
    path = [str(programs), str(TARGET / "venv" / "bin"), os.environ["PATH"]]
    return {"PATH": ":".join(path), "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC", "TMPDIR": str(home)}
