"""The compose files: each alone and merged, against the settings, the Dockerfile and each other. No engine runs them here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from empathetic_server.engines.vllm_generator import NOTE_READER
from empathetic_server.metrics import Metrics
from empathetic_server.settings import Settings

from tests.packaging.compose import fill_in, read_compose
from tests.packaging.dockerfiles import Stage, read_stages

PASSWORD = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4"  # noqa: S105  # nobody's
FILES = {"gpu": ("compose.yaml",), "cpu": ("compose.yaml", "compose.cpu.yaml")}
PREFIX = "EMPATHETIC_"

Services = dict[str, dict[str, Any]]


@pytest.fixture(params=FILES)
def stack(request: pytest.FixtureRequest, root: Path) -> dict[str, Any]:
    """A stack with its variables filled in."""
    merged = read_compose(*(root / "deploy" / name for name in FILES[request.param]))
    filled: dict[str, Any] = fill_in(merged, {"REDIS_PASSWORD": PASSWORD})
    return filled


@pytest.fixture
def services(stack: dict[str, Any]) -> Services:
    return dict(stack["services"])


@pytest.fixture
def stages(root: Path) -> dict[str, Stage]:
    return read_stages(root / "Dockerfile")


def test_the_merged_file_fits_compose_s_schema(stack: dict[str, Any], tmp_path: Path) -> None:
    merged = tmp_path / "compose.yaml"
    merged.write_text(yaml.safe_dump(stack))
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec", str(merged)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_five_services_are_there(services: Services) -> None:
    assert set(services) == {"server", "triton", "vllm", "redis", "prometheus"}


def test_only_the_classifier_and_the_language_model_ask_for_a_gpu(root: Path) -> None:
    asking = {}
    for name, files in FILES.items():
        services = read_compose(*(root / "deploy" / file for file in files))["services"]
        asking[name] = {service for service, given in services.items() if "gpu" in str(given.get("deploy"))}
    assert asking == {"gpu": {"triton", "vllm"}, "cpu": set()}


def test_every_image_is_pinned_and_ours_have_the_projects_version(services: Services, stages: dict[str, Stage], root: Path) -> None:
    version = re.findall(r'^version = "(.+)"$', (root / "pyproject.toml").read_text(), re.MULTILINE)[0]
    for name, service in services.items():
        if "build" in service:
            assert service["image"] == f"empathetic-ai-{name}:{version}"
            assert service["build"]["target"] in stages
            assert (root / "deploy" / service["build"]["context"] / "Dockerfile").is_file()
        else:
            assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+[a-z0-9_-]*", service["image"])


def test_every_container_is_confined(services: Services, stages: dict[str, Stage]) -> None:
    for name, service in services.items():
        user = service.get("user") or stages[name].last("USER").text
        assert int(user.split(":")[0]) > 0, name
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"]), name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service), name
        assert {"mem_limit", "pids_limit", "restart", "init", "logging"} <= set(service), name


def test_only_the_server_is_published_and_only_to_this_machine(stack: dict[str, Any], services: Services) -> None:
    assert {name for name, service in services.items() if "ports" in service} == {"server"}
    assert services["server"]["ports"] == ["127.0.0.1:8080:8080"]
    assert [name for name, service in services.items() if "edge" in service["networks"]] == ["server"]
    assert stack["networks"]["engines"] == {"internal": True}


def test_the_servers_environment_is_made_of_its_settings(services: Services) -> None:
    given = services["server"]["environment"]
    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(Settings.model_fields)
    settings = Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in given.items() if value is not None})
    assert (settings.classifier, settings.generator) == ("triton", "vllm")
    assert settings.sessions == f"redis://:{PASSWORD}@redis:6379/0"


def test_services_are_asked_where_they_listen(services: Services, stages: dict[str, Stage], root: Path) -> None:
    server = services["server"]["environment"]
    exposed = {name: stages[name].last("EXPOSE").words for name in ("server", "triton")}
    assert server["EMPATHETIC_TRITON_URLS"].split(":") == ["triton", exposed["triton"][1]]
    assert server["EMPATHETIC_VLLM_URL"] == "http://vllm:8000/v1"
    assert "http://127.0.0.1:8000/health" in services["vllm"]["healthcheck"]["test"][-1]
    assert services["server"]["ports"][0].rpartition(":")[2] == exposed["server"][0]
    scraped = yaml.safe_load((root / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in scraped for group in job["static_configs"] for target in group["targets"]]
    assert targets == [f"server:{exposed['server'][0]}", f"triton:{exposed['triton'][2]}", "vllm:8000"]


def test_the_language_models_window_is_its_own_and_its_name_the_one_that_the_server_knows(services: Services) -> None:
    assert services["server"]["environment"]["EMPATHETIC_CONTEXT_TOKENS"] is None  # not set: the server asks vLLM
    assert "--max-model-len=auto" in services["vllm"]["command"]
    assert f"--served-model-name={NOTE_READER}" in services["vllm"]["command"]


def test_who_is_waited_for_has_a_health_check(services: Services, stages: dict[str, Stage]) -> None:
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[name] or stages[name].health_check
    assert "vllm" not in services["server"]["depends_on"]  # chat goes on without it


def test_requests_have_time_to_finish(services: Services) -> None:
    assert int(services["server"]["stop_grace_period"].removesuffix("s")) > Settings.model_fields["drain_seconds"].default
    assert int(services["triton"]["stop_grace_period"].removesuffix("s")) > 30


def test_volumes_are_declared_and_mounted_files_are_there(stack: dict[str, Any], services: Services, root: Path) -> None:
    mounts = [mount for service in services.values() for mount in service.get("volumes", []) if isinstance(mount, str)]
    sources = {mount.split(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith(".")} == set(stack["volumes"])
    for mount in mounts:
        if mount.startswith("."):
            assert mount.endswith(":ro")
            assert (root / "deploy" / mount.split(":")[0]).is_file()


def test_no_secret_stands_in_the_files_and_none_is_made_up(root: Path) -> None:
    unfilled = read_compose(*(root / "deploy" / name for name in FILES["cpu"]))
    with pytest.raises(KeyError, match="REDIS_PASSWORD"):
        fill_in(unfilled, {})
    for service in unfilled["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEYS?$|TOKEN$|AUTH$|SESSIONS$", name):
                assert value is None or "${REDIS_PASSWORD:?" in value, name
    assert PASSWORD not in str(unfilled)


def test_redis_writes_every_command_to_disk_and_shows_its_password_to_nobody(services: Services, tmp_path: Path) -> None:
    program, flag, script = services["redis"]["command"]
    assert (program, flag) == ("sh", "-c")
    (tmp_path / "redis-server").write_text('#!/bin/sh\necho "$@"; stat -c %a "$1"; cat "$1"\n')
    (tmp_path / "redis-server").chmod(0o755)
    script = script.replace("/tmp/", f"{tmp_path}/")  # noqa: S108  # a folder inside
    environment = {**services["redis"]["environment"], "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    output = subprocess.run([program, flag, script], check=True, capture_output=True, text=True, env=environment).stdout
    arguments, mode, *configuration = output.splitlines()
    assert PASSWORD not in script
    assert arguments == f"{tmp_path}/redis.conf"
    assert mode == "600"
    assert configuration == [f"requirepass {PASSWORD}", "appendonly yes", "appendfsync always", "dir /data", "maxmemory-policy noeviction"]


def test_alerts_ask_for_metrics_and_labels_that_the_server_has(root: Path) -> None:
    # A counter's name ends in _total only where it is exposed.
    known = {family.name + suffix for family in Metrics().registry.collect() for suffix in ("", "_total")} | {"up"}
    rules = [rule for group in yaml.safe_load((root / "deploy" / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        asked = set(re.findall(r"\b(?:empathetic_\w+|up)\b", rule["expr"]))
        assert asked, rule["alert"]
        assert asked <= known
        assert {"alert", "expr", "for", "labels", "annotations"} == set(rule)


def test_prometheus_reads_the_files_that_are_mounted(services: Services, root: Path) -> None:
    mounted = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    configuration = yaml.safe_load((root / "deploy" / "prometheus.yml").read_text())
    flags = dict(flag.split("=", 1) for flag in services["prometheus"]["command"])
    assert {flags["--config.file"], flags["--storage.tsdb.path"], *configuration["rule_files"]} == mounted
