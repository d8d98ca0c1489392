"""The alert and recording rules, by Prometheus' own tool."""

import pathlib
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_rules_do_what_they_say(tmp_path):
    """promtool knows plain rule files; the rules are the spec of the PrometheusRule."""
    rule = yaml.safe_load((ROOT / "k8s/components/monitoring/prometheusrule.yaml").read_text())
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    shutil.copy(pathlib.Path(__file__).with_name("rules_test.yaml"), tmp_path)
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        result = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_test():
    rule = yaml.safe_load((ROOT / "k8s/components/monitoring/prometheusrule.yaml").read_text())
    tests = pathlib.Path(__file__).with_name("rules_test.yaml").read_text()
    for group in rule["spec"]["groups"]:
        for alert in filter(lambda rule: "alert" in rule, group["rules"]):
            assert f"alertname: {alert['alert']}\n" in tests, alert["alert"]
