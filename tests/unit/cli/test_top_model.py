"""What `pybroker top` makes of two looks at brokers: rates, latencies, sums and orders."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pybroker_server.cli.top import parsed
from pybroker_server.cli.top_model import Failure, Look, View, quantile_of, view_of
from pybroker_server.cli.top_view import screen, short
from pybroker_server.telemetry.counts import BOUNDS_S, Durations


def look(at_s: float, text: str, address: str = "a:1") -> Look:
    return Look(address, at_s, parsed(text))


FIRST = """
pybroker_info{version="1",node_id="2",cluster_id="c"} 1
pybroker_ready 1
process_cpu_seconds_total 1.0
pybroker_topic_records_in_total{topic="t"} 100
pybroker_topic_records_in_total{topic="u"} 5
pybroker_topic_bytes_in_total{topic="t"} 1000
pybroker_topic_bytes_in_total{topic="u"} 50
pybroker_consumergroup_info{consumergroup="g",protocol="classic",state="Stable"} 1
kafka_consumergroup_members{consumergroup="g"} 3
kafka_consumergroup_current_offset{consumergroup="g",topic="t",partition="0"} 10
kafka_consumergroup_lag{consumergroup="g",topic="t",partition="0"} 90
kafka_consumergroup_lag{consumergroup="g",topic="t",partition="1"} 7
"""
SECOND = FIRST.replace("seconds_total 1.0", "seconds_total 2.5").replace(
    'records_in_total{topic="t"} 100', 'records_in_total{topic="t"} 300'
)


def test_rates_are_the_growth_between_two_looks_per_second() -> None:
    view = view_of([(look(12.0, SECOND), look(10.0, FIRST))])
    [broker] = view.brokers
    assert (broker.node_id, broker.ready, broker.cpu_percent, broker.records_in_per_s) == (2, True, 75.0, 100.0)
    assert [(row.topic, row.records_in_per_s) for row in view.topics] == [("t", 100.0), ("u", 0.0)]


def test_one_look_has_no_rates() -> None:
    view = view_of([(look(12.0, FIRST), None)])
    assert view.brokers[0].records_in_per_s is None
    assert view.topics[0].records_in_per_s is None


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    view = view_of([(look(11.0, FIRST), look(10.0, SECOND))])
    assert view.topics[0].records_in_per_s == 100.0


def test_a_groups_lag_is_the_sum_of_its_partitions_and_the_largest_comes_first() -> None:
    other = FIRST.replace('"g"', '"far"').replace("} 90", "} 9000")
    view = view_of([(look(1.0, FIRST), None), (look(1.0, other, "b:1"), None)])
    assert [(row.group, row.lag, row.members, row.state) for row in view.groups] == [
        ("far", 9007, 3, "Stable"),
        ("g", 97, 3, "Stable"),
    ]


def test_topics_are_summed_over_brokers() -> None:
    pairs = [(look(12.0, SECOND, name), look(10.0, FIRST, name)) for name in ("a:1", "b:1")]
    assert view_of(pairs).topics[0].records_in_per_s == 200.0


@given(st.lists(st.integers(0, 30_000_000), min_size=1), st.sampled_from([0.5, 0.99]))
def test_a_quantile_lies_within_the_bucket_of_the_value_that_it_is_for(durations_us: list[int], q: float) -> None:
    seen = Durations()
    for duration in durations_us:
        seen.add(duration)
    found = quantile_of(zip((*BOUNDS_S, math.inf), seen.cumulative(), strict=True), q)
    assert found is not None
    value = sorted(durations_us)[math.ceil(q * len(durations_us)) - 1] / 1e6
    assert value / 2 - BOUNDS_S[0] <= found <= max(2 * value, BOUNDS_S[0])


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_of([], 0.5) is None
    assert quantile_of([(1.0, 0.0), (math.inf, 0.0)], 0.5) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (7.0, "7"), (999, "999"), (1234, "1.23K"), (2_500_000, "2.5M"), (0.25, "0.25")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert short(value) == text


def test_the_screen_shows_what_is_wrong() -> None:
    view = view_of([(look(12.0, SECOND), look(10.0, FIRST))], [Failure("b:9644", "Connection refused")])
    view.partitions_without_leader = 4
    view.topics[0].under_replicated = 2
    text = drawn(view)
    assert "4 without a leader" in text
    assert "2 under-replicated" in text
    assert "b:9644: Connection refused" in text
    assert "97" in text


def test_names_from_clients_are_no_markup() -> None:
    view = view_of([(look(1.0, FIRST.replace('"g"', '"[red]g[/]"')), None)])
    assert "[red]g[/]" in drawn(view)


def drawn(view: View) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(screen(view, 10))
    return out.getvalue()
