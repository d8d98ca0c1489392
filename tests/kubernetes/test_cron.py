"""What `rscore batch cron` prints, beside the CronJob of overlays/batch: both start the same kind of run."""

import os
import subprocess

import kubernetes_validate
import pytest
import yaml
from conftest import ROOT, render
from test_manifests import VERSIONS, seconds

# What differs for a cluster's own reasons: Kueue, limits of time, how many pods.
OWN = {"suspend", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "maxFailedIndexes", "template"}


@pytest.fixture(scope="module")
def overlay():
    objects = list(yaml.safe_load_all(render("overlays/batch")))
    return next(thing for thing in objects if thing["kind"] == "CronJob")


@pytest.fixture(scope="module")
def printed(overlay):
    """The objects that the binary prints for the schedule, zone and shards of the overlay."""
    spec = overlay["spec"]
    command = [
        *(os.environ["SERVER_BINARY"], "batch", "cron", ROOT / "k8s/overlays/batch/job.toml", spec["schedule"]),
        *("--time-zone", spec["timeZone"], "--name", overlay["metadata"]["name"]),
        *("--shards", str(spec["jobTemplate"]["spec"]["completions"]), "--secret", "store"),
    ]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return {thing["kind"]: thing for thing in yaml.safe_load_all(result.stdout)}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_printed_fits_the_schemas(printed, version):
    assert set(printed) == {"ConfigMap", "CronJob"}
    for thing in printed.values():
        kubernetes_validate.validate(thing, version, strict=True)


def test_both_fire_at_the_same_times_and_never_twice_at_once(overlay, printed):
    keys = ["schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds"]
    assert [printed["CronJob"]["spec"][key] for key in keys] == [overlay["spec"][key] for key in keys]
    assert overlay["spec"]["concurrencyPolicy"] == "Forbid"


def test_both_jobs_share_their_work_and_know_the_exit_codes(overlay, printed):
    jobs = [thing["spec"]["jobTemplate"]["spec"] for thing in (overlay, printed["CronJob"])]
    ours, theirs = ({key: value for key, value in job.items() if key not in OWN} for job in jobs)
    assert ours == theirs
    assert "podFailurePolicy" in ours and ours["completionMode"] == "Indexed"


def test_both_name_the_run_after_the_fire_time_and_go_on_with_it(overlay, printed):
    """The name of a CronJob's Job ends in its fire time; a pod that is started again resumes the run."""
    for thing in (overlay, printed["CronJob"]):
        pod = thing["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        (container,) = pod["containers"]
        variables = {variable["name"]: variable for variable in container["env"]}
        source = variables["RSCORE_RUN_ID"]["valueFrom"]["fieldRef"]
        assert source["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
        assert "--run-id" not in container["args"] and "--resume" in container["args"]


def test_both_serve_metrics_where_the_pod_monitor_looks(overlay, printed):
    monitor = next(thing for thing in yaml.safe_load_all(render("overlays/batch")) if thing["kind"] == "PodMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    for thing in (overlay, printed["CronJob"]):
        template = thing["spec"]["jobTemplate"]["spec"]["template"]
        assert wanted <= template["metadata"]["labels"].items()
        (container,) = template["spec"]["containers"]
        at = container["args"].index("--admin-listen")
        assert container["args"][at + 1] == "0.0.0.0:9090"
        assert container["ports"] == [{"name": "operator", "containerPort": 9090}]


def test_a_pod_that_is_told_to_stop_has_time_to_say_75(overlay, printed):
    # limits.stop_timeout; the job of the overlay leaves it at its default.
    assert "stop_timeout" not in (ROOT / "k8s/overlays/batch/job.toml").read_text()
    for thing in (overlay, printed["CronJob"]):
        pod = thing["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > seconds("20s")


def test_the_printed_configuration_is_the_job_file(printed):
    text = (ROOT / "k8s/overlays/batch/job.toml").read_text()
    assert printed["ConfigMap"]["data"]["job.toml"] == text
