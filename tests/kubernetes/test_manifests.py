"""The manifests, without a cluster: against the schemas of Kubernetes, a policy linter, the binary
that they start, and a server that runs."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request

import kubernetes_validate
import pytest
import yaml
from conftest import ROOT

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


def test_images_are_of_this_version_and_start_its_binary(binary, objects):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    said = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    assert said.split()[:2] == ["rscore", version]
    for _, _, container in containers(objects):
        assert re.fullmatch(r"registry\.example\.com/rscore(-gpu)?:" + re.escape(version), container["image"])
        # The image's entry point, which gets the arguments.
        assert "command" not in container and container["args"][0] in ("serve", "batch")


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
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for path in [*settings["auth"]["keys"], *filter(None, settings.get("tls", {}).values())]:
            assert any(path.startswith(mount) for mount in mounts), f"{path} is mounted nowhere"


def get(address, path):
    """The status of an answer."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def asked_for(objects):
    """The paths that the kubelet and Prometheus ask for."""
    for _, _, container in containers(objects):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                yield container[probe]["httpGet"]["path"]
    for thing in objects:
        match thing["kind"]:
            case "ServiceMonitor":
                yield from (endpoint["path"] for endpoint in thing["spec"]["endpoints"])
            case "PodMonitor":
                yield from (endpoint["path"] for endpoint in thing["spec"]["podMetricsEndpoints"])
            case "Deployment":
                annotations = thing["spec"]["template"]["metadata"]["annotations"]
                ports = thing["spec"]["template"]["spec"]["containers"][0]["ports"]
                assert int(annotations["prometheus.io/port"]) in {port["containerPort"] for port in ports}
                yield annotations["prometheus.io/path"]


def test_a_server_that_runs_answers_what_is_asked_for(objects, operator):
    paths = set(asked_for(objects))
    assert paths
    assert {path: get(operator, path) for path in paths} == dict.fromkeys(paths, 200)
    # The check can fail.
    assert get(operator, "/healthz") == 404


def test_the_health_check_of_the_image_is_content_with_a_server_that_runs(binary, operator):
    check = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE).group(1)
    program, *arguments = json.loads(check)
    assert program == "rscore"
    command = [binary, *arguments, "--admin-listen"]
    assert subprocess.run([*command, operator], capture_output=True).returncode == 0
    # Port 1 belongs to nobody here.
    assert subprocess.run([*command, "127.0.0.1:1"], capture_output=True).returncode == 1


def test_the_image_exposes_the_ports(binary, objects, tmp_path):
    """Those that the binary listens on by default; others only where flags of the container say so."""
    said = subprocess.run([binary, "config"], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=True, capture_output=True)
    server = tomllib.loads(said.stdout.decode())["server"]
    default = {int(server[key].rpartition(":")[2]) for key in ("listen", "admin_listen")}
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE).group(1)
    assert {int(port) for port in exposed.split()} == default
    for _, _, container in containers(objects):
        arguments = container["args"]
        moved = {int(arguments[at + 1].rpartition(":")[2]) for at, flag in enumerate(arguments) if flag == "--listen"}
        assert {port["containerPort"] for port in container["ports"]} <= default | moved


def batch_containers(objects):
    for thing, pod, container in containers(objects):
        if container["args"][0] == "batch":
            yield thing, pod, container


def test_batch_runs_start_with_these_flags(binary, objects, tmp_path):
    """Flags and variables are read before the job: a job file that is not there is what is refused."""
    for _, _, container in batch_containers(objects):
        arguments = container["args"]
        assert arguments[:2] == ["batch", "run"]
        missing = tmp_path / "missing.toml"
        rest = [str(missing), *arguments[3:]]

        def run(*more):
            return subprocess.run(
                [binary, "batch", "run", *rest, *more],
                env={"PATH": os.environ["PATH"], **environment(container)},
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )

        result = run()
        assert result.returncode == 10 and str(missing) in result.stderr, result.stderr
        # The check can fail.
        assert run("--no-such-flag").returncode == 2
        if "--admin-listen" in rest:
            rest[rest.index("--admin-listen") + 1] = "nowhere"
            assert run().returncode == 64


def test_batch_runs_serve_metrics_where_prometheus_asks(objects):
    for _, _, container in batch_containers(objects):
        arguments = container["args"]
        address, _, port = arguments[arguments.index("--admin-listen") + 1].rpartition(":")
        assert address == "0.0.0.0"
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        (monitor,) = [thing["spec"] for thing in objects if thing["kind"] == "PodMonitor"]
        assert [ports[endpoint["port"]] for endpoint in monitor["podMetricsEndpoints"]] == [int(port)]


def test_monitors_and_policies_select_pods(objects):
    labels = []
    for thing, pod in pods(objects):
        if thing["kind"] != "ServingRuntime":
            spec = thing["spec"]["jobTemplate"]["spec"] if thing["kind"] == "CronJob" else thing["spec"]
            labels.append(spec["template"]["metadata"]["labels"].items())
    for thing in objects:
        if thing["kind"] in ("PodMonitor", "NetworkPolicy"):
            spec = thing["spec"]
            wanted = (spec.get("selector") or spec["podSelector"])["matchLabels"].items()
            assert any(wanted <= of_pod for of_pod in labels), thing["kind"]


def test_jobs_can_be_read_and_know_their_account(binary, objects, tmp_path):
    """The job file with the container's variables, as far as a store that is not there: the credentials are
    made up, and the endpoint is a port of this machine that nobody listens on."""
    for _, _, container in batch_containers(objects):
        (job,) = [thing["data"]["job.toml"] for thing in objects if thing["kind"] == "ConfigMap" and "job.toml" in thing["data"]]
        (tmp_path / "job.toml").write_text(job)
        # The folder of a model is that of one version.
        assert re.search(r"/\d+$", tomllib.loads(job)["model"])
        variables = {
            "PATH": os.environ["PATH"],
            "AZURE_STORAGE_ACCOUNT_KEY": "AAAA",
            "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1/account",
            "RSCORE_STORE__MAX_RETRIES": "0",
            **environment(container),
        }

        def plan(variables):
            command = [binary, "batch", "plan", tmp_path / "job.toml"]
            return subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=60)

        result = plan(variables)
        assert result.returncode == 10 and "AZURE_" not in result.stderr, result.stderr
        assert "az://" in result.stderr, result.stderr
        # The check can fail.
        variables.pop("AZURE_STORAGE_ACCOUNT_NAME")
        assert "AZURE_STORAGE_ACCOUNT_NAME" in plan(variables).stderr


def test_settings_that_are_mounted_are_there(objects):
    names = {thing["metadata"]["name"] for thing in objects if thing["kind"] == "ConfigMap"}
    for _, pod in pods(objects):
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in names


def mebibytes(text):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_volumes_on_the_disk_fit_into_the_limit_of_the_pod(objects):
    """What is in them counts against ephemeral-storage, and so do logs: a pod above it is evicted."""
    for thing, pod in pods(objects):
        disks = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        sizes = [mebibytes(disk["sizeLimit"]) for disk in disks if disk.get("medium") != "Memory"]
        limits = [mebibytes(container["resources"]["limits"]["ephemeral-storage"]) for container in pod["containers"]]
        assert sizes and sum(sizes) < sum(limits), thing["metadata"]["name"]


CPU = ("Resource", "cpu")
QUEUE_AGE = ("Pods", "rscore_queue_age_seconds")


def scaled_by(objects):
    """What each HorizontalPodAutoscaler goes by."""
    for thing in objects:
        if thing["kind"] == "HorizontalPodAutoscaler":
            metrics = thing["spec"]["metrics"]
            yield [
                (metric["type"], metric["resource"]["name"] if "resource" in metric else metric["pods"]["metric"]["name"])
                for metric in metrics
            ]


def test_autoscalers_go_by_one_metric(place, objects):
    """Beside another CPU would be no fallback: the metric that asks for the most pods wins."""
    expected = {
        "overlays/aks": [[QUEUE_AGE]],
        "overlays/batch": [],
        "overlays/gpu": [[QUEUE_AGE]],
        "overlays/keda": [],
        "overlays/kserve": [],
        "overlays/spot": [[QUEUE_AGE]],
        "components/queue-age": [[QUEUE_AGE]],
    }
    assert list(scaled_by(objects)) == expected.get(place, [[CPU]])


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


@pytest.mark.parametrize("version", VERSIONS)
def test_the_template_of_secrets_fits_the_schemas_and_has_what_is_mounted(version):
    secrets = list(yaml.safe_load_all((ROOT / "k8s/base/secrets.template.yaml").read_text()))
    for secret in secrets:
        kubernetes_validate.validate(secret, version, strict=True)
    keys = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in secrets}
    (deployment,) = yaml.safe_load_all((ROOT / "k8s/base/deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    mounted = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert set(mounted.values()) == set(keys)
    paths = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] in mounted}
    settings = tomllib.loads((ROOT / "k8s/base/rscore.toml").read_text())
    for path in map(pathlib.PurePosixPath, [*settings["tls"].values(), *settings["auth"]["keys"]]):
        assert path.name in keys[mounted[paths[str(path.parent)]]], path
