"""The manifests, without a cluster: against the schemas of Kubernetes, a policy linter, and the
binary that they start."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import kubernetes_validate
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The oldest release that is still supported somewhere, one between, and the newest known.
VERSIONS = ["1.30", "1.34", "1.37"]

# Kinds of other projects, whose schemas the library has not.
CUSTOM_KINDS = {
    "cert-manager.io/v1",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
    "serving.kserve.io/v1alpha1",
    "serving.kserve.io/v1beta1",
}


@pytest.fixture(scope="session")
def binary():
    return os.environ["SERVER_BINARY"]


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_the_schemas(objects, version):
    for thing in objects:
        if thing["apiVersion"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(thing, version, strict=True)


def test_schemas_find_mistakes(objects):
    """The check above can fail."""
    for thing in objects:
        if thing["kind"] == "Deployment":
            thing = json.loads(json.dumps(thing))
            thing["spec"]["template"]["spec"]["container"] = []
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(thing, VERSIONS[0], strict=True)


def test_the_policy_linter_has_no_complaint(rendered):
    command = [
        pathlib.Path(sys.executable).parent / "checkov",
        *("--directory", rendered),
        *("--config-file", ROOT / "k8s/.checkov.yaml"),
        "--skip-download",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def pods(objects):
    """The specs of all pods, with the names of their objects."""
    for thing in objects:
        match thing["kind"]:
            case "Deployment" | "Job":
                yield thing, thing["spec"]["template"]["spec"]
            case "CronJob":
                yield thing, thing["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            case "ServingRuntime":
                yield thing, thing["spec"]


def containers(objects):
    for thing, pod in pods(objects):
        for container in pod["containers"]:
            yield thing, pod, container


def environment(container):
    return {variable["name"]: variable["value"] for variable in container.get("env", []) if "value" in variable}


def configuration(objects, tmp_path):
    """rscore.toml of the overlay's ConfigMap, as a file; none where settings come otherwise."""
    for thing in objects:
        if thing["kind"] == "ConfigMap" and "rscore.toml" in thing["data"]:
            path = tmp_path / "rscore.toml"
            path.write_text(thing["data"]["rscore.toml"])
            return path
    return None


def effective(binary, objects, container, tmp_path):
    """The settings that the container's server would have, as the binary itself reads them."""
    arguments = container["args"][1:]
    if "--config" in arguments:
        arguments[arguments.index("--config") + 1] = str(configuration(objects, tmp_path))
    result = subprocess.run(
        [binary, "config", *arguments],
        env={"PATH": os.environ["PATH"], **environment(container)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return tomllib.loads(result.stdout)


def test_images_are_pinned(objects):
    for _, _, container in containers(objects):
        assert re.fullmatch(r"registry\.example\.com/rscore(-gpu)?:\d+\.\d+\.\d+", container["image"])


def test_servers_start_with_these_settings(binary, objects, tmp_path):
    """Flags, variables and file are read by the binary; ports and probes are those it listens on."""
    for thing, _, container in containers(objects):
        if container["args"][0] != "serve":
            continue
        settings = effective(binary, objects, container, tmp_path)
        listens = {settings["server"][key].rpartition(":")[2] for key in ("listen", "admin_listen")}
        operator = settings["server"]["admin_listen"].rpartition(":")[2]
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        assert set(ports.values()) <= listens
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                get = container[probe]["httpGet"]
                assert ports.get(get["port"], str(get["port"])) == operator, thing["kind"]
                assert get["path"] in ("/livez", "/readyz")
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for path in [*settings["auth"]["keys"], *filter(None, settings.get("tls", {}).values())]:
            assert any(path.startswith(mount) for mount in mounts), f"{path} is mounted nowhere"


def test_services_reach_the_ports(objects):
    ports = {port["name"] for _, _, container in containers(objects) for port in container.get("ports", [])}
    for thing in objects:
        if thing["kind"] == "Service":
            assert {port["targetPort"] for port in thing["spec"]["ports"]} <= ports


def test_a_drain_ends_before_the_pod_is_killed(binary, objects, tmp_path):
    for _, pod, container in containers(objects):
        if container["args"][0] == "serve" and "terminationGracePeriodSeconds" in pod:
            settings = effective(binary, objects, container, tmp_path)["server"]
            assert seconds(settings["drain_timeout"]) < pod["terminationGracePeriodSeconds"]


def seconds(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text))


def test_jobs_know_the_exit_codes(objects):
    """Interrupted (75) does not count; what another try can't change ends the Job."""
    for thing in objects:
        spec = {"Job": lambda: thing["spec"], "CronJob": lambda: thing["spec"]["jobTemplate"]["spec"]}
        if thing["kind"] not in spec:
            continue
        rules = spec[thing["kind"]]()["podFailurePolicy"]["rules"]
        codes = {rule["action"]: set(rule["onExitCodes"]["values"]) for rule in rules if "onExitCodes" in rule}
        assert codes == {"FailJob": {2, 10, 11, 12, 64}, "Ignore": {75}}


def test_no_secret_is_in_a_manifest(objects):
    assert not [thing for thing in objects if thing["kind"] == "Secret"]
