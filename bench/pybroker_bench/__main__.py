"""`python -m pybroker_bench` is `pybroker bench`."""

from pybroker_bench.cli import bench

if __name__ == "__main__":
    bench(prog_name="pybroker bench")
