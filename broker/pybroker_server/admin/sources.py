"""The parts of a broker that the admin server looks at.

Rules of this file: one value, and whether the broker is ready; nothing is changed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pybroker_server.controller.isr_changes import IsrChanges
from pybroker_server.handlers.services import Services
from pybroker_server.log.cleaner import Cleaner
from pybroker_server.log.flusher import Flusher
from pybroker_server.network.hub import ConnectionHub
from pybroker_server.telemetry.events import RefusalLog
from pybroker_server.telemetry.loop_lag import LoopLag


@dataclass(frozen=True, slots=True)
class Sources:
    services: Services
    hub: ConnectionHub
    flusher: Flusher
    cleaner: Cleaner
    loop_lag: LoopLag
    refusals: RefusalLog
    isr_changes: IsrChanges | None
    """None for a broker that stays alone."""

    def why_not_ready(self) -> str | None:
        """None: clients are served. Else the reason, for people."""
        services = self.services
        own = services.metadata.image.brokers.get(services.node_id)
        if own is None:
            return "this broker is not registered in the cluster"
        if own.fenced:
            return "this broker is fenced: its lease in the metadata store has run out"
        if not any(directory.is_online for directory in services.logs.directories):
            return "no log directory is online"
        return None
