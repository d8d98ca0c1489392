"""Every overlay of k8s/, as `kubectl kustomize` renders it."""

import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = ["base", *sorted(f"overlays/{path.name}" for path in (ROOT / "k8s/overlays").iterdir())]


def render(overlay):
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / overlay)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A folder with one file per overlay."""
    directory = tmp_path_factory.mktemp("rendered")
    for overlay in OVERLAYS:
        (directory / f"{overlay.replace('/', '-')}.yaml").write_text(render(overlay))
    return directory


@pytest.fixture(scope="session", params=OVERLAYS)
def objects(request, rendered):
    """The objects of one overlay."""
    text = (rendered / f"{request.param.replace('/', '-')}.yaml").read_text()
    return list(yaml.safe_load_all(text))
