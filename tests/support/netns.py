"""A network of namespaces on one bridge: hosts that can be cut off from one another, in one direction or both.

Needs root, `ip` and `nft`; `why_not()` says what is missing. The machine itself is on the bridge too, as GATEWAY.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

SUBNET = "172.29.78"
GATEWAY = f"{SUBNET}.1"
_BRIDGE = "pybroker-br"


def why_not() -> str | None:
    """What this machine lacks to make such a network, or None."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = subprocess.run(["ip", "netns", "add", "pybroker-probe"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"network namespaces cannot be had here: {probe.stderr.strip()}"
    _run("ip", "netns", "del", "pybroker-probe")
    return None


class Network:
    """`hosts` by number, each with the address `SUBNET.<10 + number>`."""

    def __init__(self, count: int) -> None:
        self.numbers = range(1, count + 1)

    def address(self, number: int) -> str:
        return f"{SUBNET}.{10 + number}"

    def command(self, number: int) -> list[str]:
        """What to put before a command so that it runs on that host."""
        return ["ip", "netns", "exec", self._name(number)]

    def make(self) -> None:
        self.remove()
        _run("ip", "link", "add", _BRIDGE, "type", "bridge")
        _run("ip", "addr", "add", f"{GATEWAY}/24", "dev", _BRIDGE)
        _run("ip", "link", "set", _BRIDGE, "up")
        for number in self.numbers:
            name, outer, inner = self._name(number), f"pbv{number}", "eth0"
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            _run("ip", "link", "set", outer, "master", _BRIDGE, "up")
            inside = ["ip", "-n", name]
            _run(*inside, "addr", "add", f"{self.address(number)}/24", "dev", inner)
            _run(*inside, "link", "set", inner, "up")
            _run(*inside, "link", "set", "lo", "up")

    def remove(self) -> None:
        for number in self.numbers:
            # The namespace goes some time after its name does, and would take its end of the cable along only then.
            subprocess.run(["ip", "link", "del", f"pbv{number}"], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", self._name(number)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", _BRIDGE], capture_output=True, check=False)

    def cut(self, number: int, *others: str, inward: bool = True, outward: bool = True) -> None:
        """Nothing comes from (`inward`) or goes to (`outward`) these any more, silently, as with a dead cable.

        Each of `others` is an address, or `address:port` for what listens there.
        """
        lines = ["table inet cut {"]
        if inward:
            rules = "; ".join(_rule(other, "saddr", "sport") for other in others)
            lines.append(f"chain in {{ type filter hook input priority 0; {rules}; }}")
        if outward:
            rules = "; ".join(_rule(other, "daddr", "dport") for other in others)
            lines.append(f"chain out {{ type filter hook output priority 0; {rules}; }}")
        _run(*self.command(number), "nft", "-f", "-", given="\n".join([*lines, "}"]))

    def heal(self, number: int) -> None:
        _run(*self.command(number), "nft", "flush", "ruleset")

    def _name(self, number: int) -> str:
        return f"pybroker-{number}"


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    made = Network(count)
    made.make()
    try:
        yield made
    finally:
        made.remove()


def _rule(other: str, address_word: str, port_word: str) -> str:
    address, _, port = other.partition(":")
    return f"ip {address_word} {address}" + (f" tcp {port_word} {port}" if port else "") + " drop"


def _run(*command: str, given: str | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
