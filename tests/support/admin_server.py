"""The admin server as a monitoring system sees it: its paths over HTTP, and its metrics parsed and looked over."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 20
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NOT_BASE_UNITS = re.compile(
    r"_(ms|us|ns|milliseconds|microseconds|nanoseconds|minutes|hours|days|kb|mb|gb|kib|mib|gib|kilobytes|megabytes|bits|percent)(_|$)"
)
_RESERVED = ("_sum", "_count", "_bucket")


class Answer(NamedTuple):
    status: int
    text: str


def get(url: str, accept: str = "") -> Answer:
    """A GET request; whatever the status, its text."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return Answer(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


class Scrape:
    """One answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, f"{family.name} comes twice"
            self.families[family.name] = family
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }
        assert len(self._values) == sum(len(family.samples) for family in self.families.values()), "a series twice"

    @classmethod
    def of(cls, url: str) -> Scrape:
        answer = get(f"{url}/metrics")
        assert answer.status == 200, answer
        return cls(answer.text)

    def value(self, name: str, **labels: str) -> float | None:
        """Of exactly this series; None when there is none."""
        return self._values.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum over the series with at least these labels."""
        wanted = labels.items()
        return sum(value for (found, has), value in self._values.items() if found == name and wanted <= has)

    @property
    def counters(self) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every series that may only grow."""
        growing = ("_total", "_bucket", "_count")
        return {key: value for key, value in self._values.items() if key[0].endswith(growing)}

    @property
    def names(self) -> set[str]:
        """As they are declared: counters with their `_total`."""
        return {f"{name}_total" if family.type == "counter" else name for name, family in self.families.items()}


def problems(scrape: Scrape) -> list[str]:
    """What is wrong by Prometheus's rules: our own look always, and `promtool check metrics` where it is installed."""
    found = [problem for family in scrape.families.values() for problem in _family_problems(family)]
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=scrape.text, capture_output=True, text=True, timeout=60, check=False
        )
        if checked.returncode != 0 or checked.stderr or checked.stdout:
            found.append(f"promtool: {checked.returncode} {checked.stdout} {checked.stderr}")
    return found


def _family_problems(family: Metric) -> list[str]:
    name, found = family.name, []
    if not _NAME.fullmatch(name):
        found.append(f"{name} is not in lower case with underscores")
    if not family.documentation.strip():
        found.append(f"{name} says nothing of itself")
    if _NOT_BASE_UNITS.search(name):
        found.append(f"{name} is not in base units")
    if family.type in ("gauge", "counter") and name.endswith(_RESERVED):
        found.append(f"{name} ends as only histograms may")
    if family.type == "gauge" and name.endswith("_total"):
        found.append(f"{name} is a gauge and ends as only counters may")
    if family.type == "counter" and any(not sample.name.endswith("_total") for sample in family.samples):
        found.append(f"{name} is a counter without _total")
    if family.type == "histogram":
        found += _histogram_problems(family)
    return found


def _histogram_problems(family: Metric) -> list[str]:
    found = []
    buckets: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
    counts: dict[frozenset[tuple[str, str]], float] = {}
    for sample in family.samples:
        labels = frozenset((key, value) for key, value in sample.labels.items() if key != "le")
        if sample.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[labels] = sample.value
    for labels, of_labels in buckets.items():
        if of_labels != sorted(of_labels):
            found.append(f"{family.name} {dict(labels)}: bounds or counts go down")
        if of_labels[-1] != (float("inf"), counts.get(labels)):
            found.append(f"{family.name} {dict(labels)}: the last bucket is not the count")
    return found
