"""Suites: both brokers take turns, ratios are of pairs, what cannot be run is said, and a fault ends it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.bench_reports import made_report

from pybroker_bench.cases import FSYNC, PAGE_CACHE, PRODUCED, Case, aims, linkedin, sizes, topic_config
from pybroker_bench.errors import BenchError
from pybroker_bench.suite import Row, lines_of, result_of, run_cases, scenario_of
from pybroker_bench.target import Target
from pybroker_bench.verify import Verdict

OURS = Target("pybroker", "localhost:1", brokers=1)
THEIRS = Target("Kafka", "localhost:2", brokers=1, is_pybroker=False)
CASE = Case("a case", {"partitionsPerTopic": 2}, (PRODUCED.aiming(1.2),), "all", (FSYNC, PAGE_CACHE))


class Bench:
    """Measures nothing: pybroker gets 200 records a second, the other 100, and a bit more each time."""

    def __init__(self, **report: Any) -> None:
        self.order: list[str] = []
        self.scenarios: list[Any] = []
        self._report = report

    def __call__(self, scenario: Any, target: Target) -> dict[str, Any]:
        self.order.append(target.name)
        self.scenarios.append(scenario)
        return made_report(records=(200 if target is OURS else 100) + len(self.order), **self._report)


def _rows(bench: Bench, *cases: Case, targets: list[Target] | None = None, **how: Any) -> list[Row]:
    given = {"client": "sdk", "rounds": 2, "scale": 1.0, "warms_up": False, "on_case": lambda row: None} | how
    return run_cases(cases, targets or [OURS, THEIRS], bench, **given)


def test_the_brokers_take_turns_and_who_begins_changes() -> None:
    bench = Bench()
    _rows(bench, CASE, rounds=3)
    assert bench.order == ["pybroker", "Kafka", "Kafka", "pybroker", "pybroker", "Kafka"]


def test_a_ratio_is_that_of_a_pair_that_ran_together() -> None:
    [row] = _rows(Bench(), CASE)
    [figure] = row.to_json([OURS, THEIRS])["figures"]
    assert figure["values"] == {"pybroker": [201.0, 204.0], "Kafka": [102.0, 103.0]}
    assert figure["ratios"] == pytest.approx([201 / 102, 204 / 103], abs=1e-4)
    assert figure["aim"] == 1.2


def test_the_round_that_warms_up_is_not_counted() -> None:
    bench = Bench()
    [row] = _rows(bench, CASE, rounds=1, warms_up=True)
    assert len(bench.order) == 4
    [figure] = row.to_json([OURS, THEIRS])["figures"]
    assert len(figure["ratios"]) == 1


def test_each_broker_is_asked_for_durability_in_its_own_words() -> None:
    assert topic_config(FSYNC, is_pybroker=True) == {"durability": "fsync"}
    assert topic_config(FSYNC, is_pybroker=False) == {"flush.messages": "1"}
    assert topic_config(PAGE_CACHE, is_pybroker=False) == {}
    bench = Bench()
    _rows(bench, CASE, rounds=1)
    assert [scenario.topic_config for scenario in bench.scenarios] == [{"durability": "fsync"}, {}]


def test_replicas_need_brokers_and_a_row_without_says_so() -> None:
    bench = Bench()
    [row] = _rows(bench, Case("replicated", {}, (PRODUCED,), replication=3))
    assert bench.order == []
    assert list(lines_of(row, [OURS, THEIRS])) == ["replicated  (acks=1, page-cache): needs 3 brokers"]


def test_a_fault_in_the_records_ends_the_suite() -> None:
    with pytest.raises(BenchError, match="lost or harmed"):
        _rows(Bench(verdict=Verdict(lost=1)), CASE)


def test_one_broker_alone_has_figures_and_no_ratios() -> None:
    rows = _rows(Bench(), CASE, targets=[OURS])
    result = result_of(rows, [OURS], {"cores": 2}, "sdk", 2, 1.0)
    assert result["rows"][0]["durability"] == ["fsync"]
    assert "ratios" not in result["rows"][0]["figures"][0]
    assert any("pybroker 202 (201 to 202)" in line for line in lines_of(rows[0], [OURS]))


@pytest.mark.parametrize("case", [*linkedin(), *sizes(), *aims()], ids=lambda case: f"{case.title}, acks={case.acks}")
@pytest.mark.parametrize("target", [OURS, THEIRS], ids=["pybroker", "Kafka"])
def test_every_case_is_a_scenario_that_can_be_run(case: Case, target: Target) -> None:
    scenario = scenario_of(case, 0, target, "librdkafka", 0.01)
    assert scenario.acks == case.acks
    assert scenario.replication_factor == case.replication


def test_linkedins_table_has_every_row_with_each_way_of_being_safe() -> None:
    produced = {(case.acks, case.durability[0]) for case in linkedin() if case.title == "1 producer, no replication"}
    assert produced == {("1", PAGE_CACHE), ("all", PAGE_CACHE), ("all", FSYNC)}
    titles = {case.title for case in linkedin()}
    assert {"1 consumer", "3 consumers", "1 producer and 1 consumer", "3 producers, 3 replicas"} <= titles
    assert [case.title for case in sizes()] == ["10 B", "100 B", "1,000 B", "10,000 B", "100,000 B"]
