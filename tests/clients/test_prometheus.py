"""A real Prometheus scrapes the server, and what dashboards and rules ask for is there."""

import json
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "k8s/components/monitoring"


@pytest.fixture(scope="module")
def operator():
    """The operator's address, as the server's own output says it."""
    output = pathlib.Path(os.environ["RSCORE_SERVE_OUTPUT"]).read_text()
    return re.search(r"metrics and probes: http://([^)]+)\)", output).group(1)


@pytest.fixture(scope="module")
def worked(session, base):
    """The server has answered, refused and failed requests."""
    rides = json.loads((ROOT / "models/rides/1/sample.json").read_text())
    for _ in range(3):
        session.post(f"{base}/models/rides/predict", json=rides).raise_for_status()
    assert session.post(f"{base}/models/rides/predict", json=[{"wrong": 1}]).status_code == 422
    assert requests.get(f"{base}/models", verify=session.verify).status_code == 401


@pytest.fixture(scope="module")
def metrics(operator, worked):
    return requests.get(f"http://{operator}/metrics").text


def named(text):
    """Names of the series that a query asks for, without the suffixes of histograms."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\brscore_[a-z0-9_]+", text)}


def exported(metrics):
    return set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))


def expressions(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_promtool_has_no_complaint(metrics):
    result = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_serving_dashboard_asks_for_what_is_there(metrics):
    dashboard = json.loads((MONITORING / "dashboards/rscore-serving.json").read_text())
    wanted = set().union(*map(named, expressions(dashboard)))
    assert wanted <= exported(metrics)
    assert len(wanted) > 15


# What only a server with models in blob storage exports; tests/integration/remote/serving.rs sees that it does.
OF_A_STORE = {"rscore_model_fetch_last_success_timestamp_seconds"}


def test_rules_ask_for_what_is_there(metrics):
    text = (MONITORING / "prometheusrule.yaml").read_text()
    recorded = set(re.findall(r"model:(rscore_[a-z0-9_]+):", text))
    wanted = {name for expression in re.findall(r"expr: (.*(?:\n {12}.*)*)", text) for name in named(expression)}
    assert OF_A_STORE <= wanted
    assert wanted - recorded - OF_A_STORE <= exported(metrics)


@pytest.fixture(scope="module")
def prometheus(operator, tmp_path_factory):
    """Prometheus with the shipped rules, on a port that was free."""
    directory = tmp_path_factory.mktemp("prometheus")
    rule = (MONITORING / "prometheusrule.yaml").read_text()
    rules = re.sub(r"^  ", "", rule[rule.index("  groups:"):], flags=re.MULTILINE)
    (directory / "rules.yaml").write_text(rules)
    (directory / "prometheus.yaml").write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: rscore
    static_configs: [{{targets: ["{operator}"]}}]
""")
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % probe.getsockname()[1]
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
                "--log.level=error",
            ]
        )
        try:
            if wait_until(lambda: ready(address, process)):
                yield address
                return
        finally:
            process.terminate()
            process.wait(20)
    pytest.fail("Prometheus did not start")


def ready(address, process):
    """Whether it answers; None while it may still."""
    if process.poll() is not None:
        return False
    try:
        return requests.get(f"http://{address}/-/ready").ok or None
    except requests.ConnectionError:
        return None


def wait_until(condition, seconds=30):
    """The condition's first answer, or None at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer is not None:
            return answer
        time.sleep(0.05)
    return None


def query(address, expression):
    answer = requests.get(f"http://{address}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def test_prometheus_scrapes_and_answers(prometheus, worked):
    """Counts in Prometheus are those of the requests that were made."""
    ok = 'rscore_requests_total{model="rides",code="200"}'
    result = wait_until(lambda: query(prometheus, ok) or None)
    assert result, "Prometheus never saw the server"
    assert float(result[0]["value"][1]) >= 3
    assert query(prometheus, 'rscore_requests_total{model="rides",code="422"}')
    assert query(prometheus, 'up{job="rscore"}')[0]["value"][1] == "1"
    workers = query(prometheus, 'sum(rscore_workers{model="rides"})')
    assert float(workers[0]["value"][1]) == 2


@pytest.mark.parametrize("path", sorted((MONITORING / "dashboards").iterdir()), ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_is_valid(prometheus, path):
    # Labels that don't match show only once there are series.
    assert wait_until(lambda: query(prometheus, "rscore_build_info") or None), "Prometheus never saw the server"
    for expression in expressions(json.loads(path.read_text())):
        for name, value in (("$__rate_interval", "1m"), ("$model", ".*"), ("$job", ".*")):
            expression = expression.replace(name, value)
        query(prometheus, expression)


def test_the_shipped_rules_are_evaluated(prometheus):
    def healthy():
        groups = requests.get(f"http://{prometheus}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if {rule["health"] for rule in rules} == {"ok"} else None

    assert len(wait_until(healthy)) > 10
