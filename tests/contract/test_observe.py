"""Dashboard, alerts and scrape targets name what is there: metrics with their labels, services, pages."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.reference import Exported, exported

pytestmark = pytest.mark.once

DOCKER = Path(__file__).resolve().parents[2] / "docker"
PAGE = "docs/operate/observe.md"
EXPORTED = {metric.name: metric for metric in exported()}
# What Prometheus adds to each series, and what it says itself of a target.
ADDED = {"job", "instance"}
OF_PROMETHEUS = {"up"}
# Names of functions and words of PromQL that are used; what is none of them is a metric.
WORDS = {"sum", "min", "max", "by", "or", "absent", "rate", "topk", "histogram_quantile"}


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((DOCKER / "grafana" / "parley.json").read_text())
    return board


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for rule in alerts():
        yield rule["expr"]


def parts(query: str) -> tuple[set[str], set[str]]:
    """Return the names of series and of labels in a query."""
    plain = re.sub(r'"[^"]*"', '""', query)  # what stands in quotes is a value
    plain = re.sub(r"\[[^\]]*\]", "", plain)
    labels = {name for inner in re.findall(r"\{([^}]*)\}", plain) for name in re.findall(r"(\w+)\s*[!=]", inner)}
    labels |= {name.strip() for inner in re.findall(r"\bby \(([^)]*)\)", plain) for name in inner.split(",")}
    bare = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", plain)
    return set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - WORDS, labels


def metric_of(series: str) -> tuple[Exported, set[str]]:
    """Return the metric that a series is of, and the labels it has. Raises KeyError when there is none."""
    if series in EXPORTED and EXPORTED[series].type != "histogram":
        return EXPORTED[series], set(EXPORTED[series].labels) | ADDED
    name, _, suffix = series.rpartition("_")
    metric = EXPORTED[name]
    if metric.type != "histogram" or suffix not in ("bucket", "count", "sum"):
        raise KeyError(series)
    return metric, set(metric.labels) | ADDED | ({"le"} if suffix == "bucket" else set())


def test_a_query_is_taken_apart_as_prometheus_does() -> None:
    query = 'topk(8, sum by (le, job) (rate(parley_x_bucket{route!~"/(a|b)",status=~"5.."}[5m]))) > 0.25'

    assert parts(query) == ({"parley_x_bucket"}, {"le", "job", "route", "status"})


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_every_query_asks_for_metrics_that_are_exported_with_those_labels(query: str) -> None:
    series, labels = parts(query)
    assert series
    for name in series - OF_PROMETHEUS:
        assert labels <= metric_of(name)[1], name
    assert all(query.count(opening) == query.count(closing) for opening, closing in ("()", "[]", "{}"))


def test_every_exported_metric_is_on_the_dashboard() -> None:
    shown = {
        metric_of(name)[0].name
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
        for name in parts(target["expr"])[0] - OF_PROMETHEUS
    }

    assert shown == EXPORTED.keys()


def test_every_graph_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        place = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert max(x for x, _ in place) < 24
        assert not taken & place, panel["title"]
        taken |= place


def test_what_must_be_told_of_has_an_alert() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    wanted = "OutboxOld DeadLetters NoWorker Errors FanoutSlow WebhookCircuitOpen DatabaseAway RedisAway TargetDown"
    assert {f"Parley{name}" for name in wanted.split()} <= set(names)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do_and_where_that_is_written(rule: dict[str, Any], project: Path) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    notes = rule["annotations"]
    assert set(notes) == {"summary", "runbook", "runbook_url"}
    assert notes["summary"].endswith(".")
    assert notes["runbook"].endswith(".")
    assert notes["runbook_url"] == f"{PAGE}#{rule['alert'].lower()}"
    sections = re.findall(r"^### (\w+)\n\n\S", (project / PAGE).read_text(), re.MULTILINE)
    assert rule["alert"] in sections


def test_the_page_explains_no_alert_that_is_not_there(project: Path) -> None:
    sections = re.findall(r"^### (Parley\w+)$", (project / PAGE).read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(rule["alert"] for rule in alerts())


def test_what_is_scraped_are_services_on_the_inside_network_at_the_port_of_their_metrics() -> None:
    services = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
    scraped = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    found = {}
    for job in scraped:
        (look_up,) = job["dns_sd_configs"]
        assert look_up["names"] == [job["job_name"]]
        service = services[job["job_name"]]
        assert "back" in service["networks"]
        assert "ports" not in service
        found[job["job_name"]] = str(look_up["port"])
    workers = {
        name: service["environment"].get("WORKER_METRICS_PORT")
        for name, service in services.items()
        if "celery" in service.get("command", ()) and "worker" in service["command"]
    }
    assert found == {"rest": "8000", "ws": "8000", **workers}


def test_a_container_of_several_processes_has_a_folder_for_their_metrics_that_its_health_check_leaves_alone() -> None:
    services = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
    with_folder = {n for n, s in services.items() if "PROMETHEUS_MULTIPROC_DIR" in s.get("environment", {})}
    assert with_folder == {"rest", "ws", "worker"}
    check = " ".join(services["worker"]["healthcheck"]["test"])
    assert "env -u PROMETHEUS_MULTIPROC_DIR celery" in " ".join(check.split())


def test_of_what_observes_grafana_alone_is_published_on_this_machine_only() -> None:
    observing = yaml.safe_load((DOCKER / "compose.observe.yml").read_text())["services"]
    ports = {name: service.get("ports", []) for name, service in observing.items()}
    assert ports.pop("grafana") == ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"]
    assert ports == {"prometheus": []}
    assert observing["prometheus"]["networks"] == ["back", "observe"]  # the latter leads out, to an Alertmanager
    for name, service in observing.items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert "healthcheck" in service, name
