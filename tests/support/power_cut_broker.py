"""`pybroker serve` over a disk whose power can be cut: `python -m tests.support.power_cut_broker JOURNAL ...`.

Everything but the disk is the product's own.
"""

from __future__ import annotations

import sys
from functools import partial

from tests.support.power_cut import PowerCutDisk

from pybroker_server import server
from pybroker_server.cli.main import main
from pybroker_server.runtime.disk_os import OsDisk


def serve_with_journal(journal: str, arguments: list[str]) -> None:
    """Runs `serve` with these arguments; ends by SystemExit."""
    server.run = partial(server.run, disk=PowerCutDisk(OsDisk(), journal))
    main(["serve", *arguments])


if __name__ == "__main__":
    serve_with_journal(sys.argv[1], sys.argv[2:])
