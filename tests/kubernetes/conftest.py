"""Every overlay of k8s/, and every component alone on the base, as `kubectl kustomize` renders them."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = ["base", *sorted(f"overlays/{path.name}" for path in (ROOT / "k8s/overlays").iterdir())]
COMPONENTS = sorted(f"components/{path.name}" for path in (ROOT / "k8s/components").iterdir())


def kustomize(folder):
    command = ["kubectl", "kustomize", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def render(overlay):
    return kustomize(ROOT / "k8s" / overlay)


def render_component(component, folder):
    """The base with this component, from a kustomization in the folder."""
    k8s = pathlib.Path(os.path.relpath(ROOT / "k8s", folder))
    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "rscore",
        "resources": [str(k8s / "base")],
        "components": [str(k8s / component)],
    }
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return kustomize(folder)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A folder with one file per overlay and component."""
    # A link in the path would lead astray what is relative to it.
    directory = tmp_path_factory.mktemp("rendered").resolve()
    built = tmp_path_factory.mktemp("built").resolve()
    for overlay in OVERLAYS:
        (directory / file_name(overlay)).write_text(render(overlay))
    for component in COMPONENTS:
        (directory / file_name(component)).write_text(render_component(component, built / component.replace("/", "-")))
    return directory


def file_name(overlay):
    return f"{overlay.replace('/', '-')}.yaml"


@pytest.fixture(scope="session", params=[*OVERLAYS, *COMPONENTS])
def place(request):
    """The overlay or component whose objects are looked at."""
    return request.param


@pytest.fixture(scope="session")
def objects(place, rendered):
    """The objects of one overlay, or of the base with one component."""
    return list(yaml.safe_load_all((rendered / file_name(place)).read_text()))


@pytest.fixture(scope="session")
def binary():
    return os.environ["SERVER_BINARY"]


@pytest.fixture(scope="session")
def operator(binary, tmp_path_factory):
    """The address of the operator's listener of a server that is ready; it has no models, so that it starts at once."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "models").mkdir()
    output = folder / "stdout"
    command = [binary, "serve", "--dev", "--models", "models", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    with output.open("w") as stdout, (folder / "stderr").open("w") as stderr:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=stderr)
    try:
        deadline = time.monotonic() + 60
        while not (address := re.search(r"metrics and probes: http://([^)]+)\)", output.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "stderr").read_text()
            time.sleep(0.05)
        yield address.group(1)
    finally:
        # Without the delay of SIGTERM.
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
