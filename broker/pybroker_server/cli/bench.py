"""`pybroker bench`: the load generator, imported when it is asked for."""

from pybroker_bench.cli import bench

__all__ = ["bench"]
