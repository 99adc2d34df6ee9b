"""The shipped deployment: what compose.yml, the Dockerfile and nginx.conf promise."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.once

DOCKER = Path(__file__).resolve().parents[3] / "docker"
PRODUCT = {"rest", "ws", "worker", "webhooks", "beat", "migrate"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def command_of(service: dict[str, Any]) -> str:
    command = service["command"]
    return command if isinstance(command, str) else " ".join(command)


def test_s135_only_nginx_publishes_ports(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]


def test_s135_databases_are_on_a_network_without_a_way_out(compose: dict[str, Any]) -> None:
    assert compose["networks"]["back"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert compose["services"][name]["networks"] == ["back"]


def test_s134_every_service_is_read_only_without_capabilities_and_privileges(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"], name


def test_rest_and_ws_are_apart_and_from_the_image_of_all(services: dict[str, dict[str, Any]]) -> None:
    assert services["rest"]["environment"]["PARLEY_ROLE"] == "rest"
    assert services["ws"]["environment"]["PARLEY_ROLE"] == "ws"
    assert len({services[name]["image"] for name in PRODUCT}) == 1


def test_where_cores_are_short_sockets_go_before_requests(services: dict[str, dict[str, Any]]) -> None:
    assert services["rest"]["cpu_shares"] < services["ws"].get("cpu_shares", 1024)


def test_the_product_runs_in_production_mode_after_its_migrations(services: dict[str, dict[str, Any]]) -> None:
    for name in PRODUCT:
        environment = services[name]["environment"]
        assert environment["PARLEY_ENV"] == "production", name
        assert environment["TRUSTED_PROXIES"] == "1", name
        if name != "migrate":
            assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully", name


def test_s135_redis_forgets_nothing_evicts_nothing_and_asks_for_a_password(services: dict[str, dict[str, Any]]) -> None:
    command = command_of(services["redis"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "requirepass" in command


def test_every_lane_is_served_and_beat_is_replicable(
    services: dict[str, dict[str, Any]],
) -> None:
    assert "--queues=fast,default,media,maintenance" in command_of(services["worker"])
    assert "--queues=webhooks --pool=threads" in command_of(services["webhooks"])
    assert "--scheduler=redbeat.RedBeatScheduler" in command_of(services["beat"])


def test_long_running_services_tell_their_health(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"migrate"}


def test_s134_no_secret_has_a_default(services: dict[str, dict[str, Any]]) -> None:
    text = (DOCKER / "compose.yml").read_text()
    assert not re.findall(r"\$\{\w*(?:PASSWORD|SECRET)\w*(?:\}|:?-)", text)


def test_s134_the_image_runs_as_nobody_in_particular_and_brings_no_tools() -> None:
    runtime = (DOCKER / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", runtime, re.MULTILINE)
    assert "apt-get" not in runtime
    assert "pip" not in runtime.replace("rm -rf /usr/local/lib/python3.13/site-packages/pip* /usr/local/bin/pip*", "")
    assert not re.search(r"^COPY .*(?:dev|tests)", runtime, re.MULTILINE)


def test_the_proxy_splits_rest_from_websockets_and_hides_the_metrics() -> None:
    config = (DOCKER / "nginx.conf").read_text()
    assert re.search(r"location / \{\s+proxy_pass \$rest;", config)
    assert re.search(r"location /ws/ \{\s+proxy_pass \$ws;", config)
    assert re.search(r"location ~ \^/metrics\S+ \{\s+return 404;", config)
    assert "client_max_body_size 1m;" in config
    assert 'proxy_set_header Sec-WebSocket-Extensions "";' in config


def test_s117_the_proxy_gives_slow_clients_ten_seconds_and_passes_on_whole_requests() -> None:
    config = (DOCKER / "nginx.conf").read_text()
    for setting in ("client_header_timeout", "client_body_timeout"):
        assert re.findall(rf"^\s*{setting} (\S+);", config, re.MULTILINE) == ["10s"]
    assert "proxy_request_buffering off" not in config
    assert re.search(r"^\s*limit_conn per_address \d+;", config, re.MULTILINE)


def test_s14_livekit_opens_rooms_only_for_meetings_and_reports_to_rest() -> None:
    config = yaml.safe_load((DOCKER / "livekit.yaml").read_text())
    assert config["room"]["auto_create"] is False
    assert config["webhook"]["urls"] == ["http://rest:8000/api/v1/livekit/webhook"]
