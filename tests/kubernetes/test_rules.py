"""The alert and recording rules, and the rule of the Prometheus adapter, by Prometheus' own tool."""

import re
import subprocess

import pytest
import yaml
from conftest import ROOT, render

RULE = ROOT / "k8s/components/monitoring/prometheusrule.yaml"
TESTS = ROOT / "tests/kubernetes/rules_test.yaml"


def promtool(folder, *arguments):
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def rules():
    groups = yaml.safe_load(RULE.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def tests():
    return yaml.safe_load(TESTS.read_text())["tests"]


def test_rules_do_what_they_say(tmp_path):
    """promtool knows plain rule files; the rules are the spec of the PrometheusRule."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(yaml.safe_load(RULE.read_text())["spec"]))
    (tmp_path / "rules_test.yaml").write_text(TESTS.read_text())
    for arguments in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        result = promtool(tmp_path, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_is_seen_to_fire_and_to_rest(rules, tests):
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    alerts = [rule["alert"] for rule in rules if "alert" in rule]
    assert len(alerts) > 10
    for alert in alerts:
        fires = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == alert}
        assert fires == {True, False}, alert


def test_every_recording_rule_has_a_test(rules, tests):
    tested = {case["expr"] for test in tests for case in test.get("promql_expr_test", [])}
    assert {rule["record"] for rule in rules if "record" in rule} == tested


def test_the_adapter_makes_the_metric_that_the_autoscaler_asks_for(tmp_path):
    """The oldest request of each pod, over its models."""
    text = (ROOT / "k8s/components/queue-age/prometheus-adapter.yaml").read_text()
    (rule,) = yaml.safe_load(text)["rules"]["custom"]
    scaled = next(thing for thing in yaml.safe_load_all(render("overlays/aks")) if thing["kind"] == "HorizontalPodAutoscaler")
    (metric,) = [metric["pods"]["metric"]["name"] for metric in scaled["spec"]["metrics"]]
    series = re.match(r"\w+", rule["seriesQuery"]).group()
    assert re.sub(rule["name"]["matches"], rule["name"]["as"].replace("${1}", r"\1"), series) == metric
    assert rule["resources"]["overrides"] == {name: {"resource": name} for name in ("namespace", "pod")}
    query = rule["metricsQuery"]
    # What the adapter puts in for two pods of a namespace.
    for name, value in (("Series", series), ("LabelMatchers", 'namespace="rscore",pod=~"a|b"'), ("GroupBy", "pod")):
        query = query.replace(f"<<.{name}>>", value)

    def sample(pod, model, value, namespace="rscore"):
        labels = f'namespace="{namespace}",pod="{pod}",model="{model}",version="1"'
        return {"series": f"{series}{{{labels}}}", "values": f"{value}x5"}

    test = {
        "rule_files": [],
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    sample("a", "boston", 0.25),
                    sample("a", "iris", 0.5),
                    sample("b", "iris", 0),
                    sample("a", "iris", 9, namespace="other"),
                ],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": "3m",
                        "exp_samples": [{"labels": f'{{pod="{pod}"}}', "value": value} for pod, value in (("a", 0.5), ("b", 0))],
                    },
                    {"expr": f"count({rule['seriesQuery']})", "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": 4}]},
                ],
            }
        ],
    }
    (tmp_path / "adapter_test.yaml").write_text(yaml.safe_dump(test))
    result = promtool(tmp_path, "test", "rules", "adapter_test.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
