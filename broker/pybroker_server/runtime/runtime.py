"""The runtime of a broker: the ports, bound, in one value.

Rules of this file: no behaviour. Production makes one with `system_runtime`; the simulator and tests make
theirs from fakes, and nobody else can tell.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pybroker_server.runtime.blocking_threads import BlockingThreads
from pybroker_server.runtime.buffers import BufferPool
from pybroker_server.runtime.clock import SystemClock
from pybroker_server.runtime.disk_os import OsDisk
from pybroker_server.runtime.entropy import SystemEntropy
from pybroker_server.runtime.network_os import OsNetwork
from pybroker_server.runtime.ports import Blocking, Clock, Disk, Entropy, Network, Timers
from pybroker_server.runtime.tasks import TaskOwner
from pybroker_server.runtime.timers import LoopTimers


@dataclass(frozen=True, slots=True)
class Runtime:
    clock: Clock
    entropy: Entropy
    disk: Disk
    blocking: Blocking
    timers: Timers
    tasks: TaskOwner
    """Owns every task of the broker; what fails in it ends the broker."""
    buffers: BufferPool
    """For the event loop's thread only."""
    network: Network


def system_runtime(tasks: TaskOwner, blocking: BlockingThreads) -> Runtime:
    """The runtime over the operating system and the running event loop; the caller closes `blocking`."""
    loop = asyncio.get_running_loop()
    return Runtime(
        clock=SystemClock(),
        entropy=SystemEntropy(),
        disk=OsDisk(),
        blocking=blocking,
        timers=LoopTimers(loop),
        tasks=tasks,
        buffers=BufferPool(),
        network=OsNetwork(loop, tasks),
    )
