"""The Dockerfile, compose files and monitoring configuration by the rules of their trades."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.containers import DOCKER, read_compose, read_image
from tests.support.source import ROOT

from pybroker_server.config.definitions import find_broker
from pybroker_server.config.environment import read_environment

COMPOSE_FILES = sorted(DOCKER.glob("compose*.yaml"))
DOCKERFILE = DOCKER / "Dockerfile"
_IMAGE_TAG = re.compile(r".+:v?\d+(\.\d+)+(-.+)?")


def tool(name: str) -> str:
    """A program of the development dependencies, or one on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name


def run(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def services() -> list[Any]:
    return [
        pytest.param(service, id=f"{path.stem}-{name}")
        for path in COMPOSE_FILES
        for name, service in yaml.safe_load(path.read_text())["services"].items()
    ]


@pytest.mark.skipif(not shutil.which(tool("hadolint")), reason="hadolint has no wheel for this platform")
def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    run(tool("hadolint"), str(DOCKERFILE))


def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_is_well() -> None:
    image = read_image()
    user, _, group = image.user.partition(":")
    assert int(user) > 0, "not root, and by number: Kubernetes checks that"
    assert group == "0", "root's group: what OpenShift gives any user"
    assert image.health_check == ["pybroker-entrypoint", "health"]
    assert image.entrypoint == ["pybroker-entrypoint"]


def test_every_file_that_the_image_copies_is_there_and_sent_to_the_engine() -> None:
    sent = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = [
        source
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in [word for word in line.split()[1:-1] if not word.startswith("--")]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == entry or source.startswith(f"{entry}/") for entry in sent), source


@pytest.mark.parametrize("script", sorted((DOCKER / "image").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_of_the_image_are_plain_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    run("sh", "-n", str(script))


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_files_follow_the_compose_specification(path: Path) -> None:
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path))
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        run("docker", "compose", "-f", str(path), "config", "--quiet")


@pytest.mark.parametrize("service", services())
def test_services_name_versions_and_have_only_known_settings(service: dict[str, Any]) -> None:
    if service["image"] == "pybroker":
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        entries, passed_over = read_environment(service.get("environment", {}))
        assert passed_over == []
        assert [entry.variable for entry in entries if find_broker(entry.key) is None] == []
    else:
        assert _IMAGE_TAG.fullmatch(service["image"]), "a tag that stays what it is"


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_what_compose_files_name_is_there(path: Path) -> None:
    document = read_compose(path)
    named = set(yaml.safe_load(path.read_text()).get("volumes", {}))
    for name, service in yaml.safe_load(path.read_text())["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (path.parent / source).exists() if source.startswith(".") else source in named, (name, volume)
        assert set(service.get("depends_on", {})) <= set(document["services"])


def test_monitoring_watches_every_broker_of_the_cluster() -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    brokers = [name for name in read_compose(DOCKER / "compose.cluster.yaml")["services"] if name.startswith("kafka")]
    assert job["static_configs"][0]["targets"] == [f"{name}:9644" for name in brokers]
    if shutil.which("promtool"):
        run("promtool", "check", "config", str(DOCKER / "prometheus" / "prometheus.yml"))


def test_grafana_finds_its_dashboard_and_its_source() -> None:
    source = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in read_compose(DOCKER / "compose.monitoring.yaml")["services"]
    provider = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/pybroker.yaml").read_text())["providers"][0]
    grafana = read_compose(DOCKER / "compose.monitoring.yaml")["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    dashboard = json.loads((DOCKER / "grafana/dashboards" / Path(home).name).read_text())
    assert dashboard["uid"] == "pybroker"
