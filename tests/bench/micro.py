"""Micro-benchmarks of every hot path, as multiples of a calibration loop: `make bench-micro`.

    python -m tests.bench.micro [WORDS]            measure, beside the stored baseline
    python -m tests.bench.micro [WORDS] --check    the same; fails when a row is slower than its baseline allows
    python -m tests.bench.micro --store            measure, and store the baseline

A machine that is twice as slow makes the calibration loop twice as slow too, so the multiples can be compared between
machines of a kind, and between days. The figure is the best of many rounds, taken in turns.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import micro_codec, micro_paths

BASELINE = Path(__file__).with_name("micro_baseline.json")
ROUNDS = 40
ROUND_SECONDS = 0.01
SLOWER_MAX = 1.35
"""How much slower than its baseline a row may be. What is faster by as much had better be stored."""


def calibration() -> object:
    """What Python code does: calls, attributes, dictionaries, bytes."""
    found: dict[int, bytes] = {}
    total = 0
    for number in range(100):
        found[number & 15] = number.to_bytes(4, "big")
        total += len(found) ^ number
    return b"".join(found.values()), total


def microseconds(works: Sequence[Callable[[], object]]) -> list[float]:
    """The best round of each, in turns: what disturbs the machine for a second then disturbs no row alone."""
    timers = [timeit.Timer(work, timer=time.process_time) for work in works]
    numbers = [max(1, int(ROUND_SECONDS / max(timer.timeit(20) / 20, 1e-7))) for timer in timers]
    best = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for place, (timer, number) in enumerate(zip(timers, numbers, strict=True)):
            best[place] = min(best[place], timer.timeit(number) / number * 1e6)
    return best


def measure(words: Sequence[str]) -> dict[str, tuple[float, float]]:
    """By row: microseconds, and how many calibration loops that is."""
    with tempfile.TemporaryDirectory() as folder:
        known = micro_codec.rows() | micro_paths.rows(Path(folder))
        rows = {label: work for label, work in known.items() if all(word in label for word in words)}
        unit, *figures = microseconds([calibration, *rows.values()])
    return {label: (figure, figure / unit) for label, figure in zip(rows, figures, strict=True)}


def slower(measured: dict[str, tuple[float, float]], baseline: dict[str, float]) -> list[str]:
    """The rows that are slower than their baseline allows."""
    return [label for label, (_, ratio) in measured.items() if ratio > baseline.get(label, ratio) * SLOWER_MAX]


def main(arguments: list[str]) -> int:
    measured = measure([word for word in arguments if not word.startswith("--")])
    if "--store" in arguments:
        stored = {label: round(ratio, 4) for label, (_, ratio) in measured.items()}
        BASELINE.write_text(json.dumps(stored, indent=1) + "\n")
    baseline: dict[str, float] = json.loads(BASELINE.read_text())
    print(f"{'µs':>10} {'loops':>9} {'baseline':>9} {'change':>7}")
    for label, (figure, ratio) in measured.items():
        known = baseline.get(label)
        beside = f"{known:9.3f} {ratio / known:7.2f}" if known else f"{'new':>9} {'':>7}"
        print(f"{figure:10.2f} {ratio:9.3f} {beside}  {label}")
    late = slower(measured, baseline)
    for label in late:
        print(f"slower than its baseline allows: {label}")
    return 1 if late and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
