"""Every figure that the README claims of performance stands in the report that was measured."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_figures_of_the_readme_are_those_of_the_report() -> None:
    claims = (ROOT / "README.md").read_text().partition("- [Performance]")[2].partition("\n\n")[0]
    figures = re.findall(r"\d[\d,]*\.\d+(?= times)|(?<=in )\d+(?= MB)|(?<=instead of )[\d,]+\d", claims)
    assert len(figures) == 6
    report = (ROOT / "docs" / "performance.md").read_text()
    assert not [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,])", report)]
