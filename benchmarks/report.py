"""What a benchmark says: a figure, what it should reach, and the baseline beside it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "Report", "median", "spread"]

_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        what: What was measured.
        value: The figure, in `unit`; the median of `runs`.
        unit: `s`, `ms`, `MB`, `%`, or what is counted; empty for a number without one.
        reach: What it should be, in words.
        reached: Whether it is.
        baseline: What it was measured beside, in words; empty where there is none.
        baseline_value: That figure, in `unit`.
        runs: How many measurements the median is of.
        spread: Smallest and largest measurement.
    """

    what: str
    value: float
    unit: str
    reach: str
    reached: bool
    baseline: str = ""
    baseline_value: float | None = None
    runs: int = 1
    spread: tuple[float, float] | None = None


@dataclass(slots=True)
class Report:
    """Collects figures, prints each as it comes and the table at the end."""

    # As wide as the table, also in a pipe, where nobody says how wide the reader's window is.
    console: Console = field(default_factory=lambda: Console(width=_WIDTH, soft_wrap=False))
    figures: list[Figure] = field(default_factory=list[Figure])

    def add(self, figure: Figure) -> None:
        """Take a figure and print it."""
        self.figures.append(figure)
        mark = "[green]reached[/]" if figure.reached else "[yellow]missed[/]"
        self.console.print(f"  {figure.what}: {_number(figure.value, figure.unit)}  {mark}")

    def show(self) -> None:
        """Print the table."""
        table = Table("figure", "measured", "min - max", "reach", "", "baseline", "ratio")
        for figure in self.figures:
            ratio = baseline = ""
            if figure.baseline_value:
                baseline = f"{_number(figure.baseline_value, figure.unit)} {figure.baseline}"
                ratio = f"{figure.value / figure.baseline_value:.2f}"
            low_high = " - ".join(f"{bound:.3g}" for bound in figure.spread or ())
            table.add_row(
                figure.what,
                f"{_number(figure.value, figure.unit)} (n={figure.runs})",
                low_high,
                figure.reach,
                "yes" if figure.reached else "[bold]no[/]",
                baseline,
                ratio,
            )
        self.console.print(table)

    def save(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(figure) for figure in self.figures], indent=2) + "\n")


def median(values: Sequence[float]) -> float:
    """Give the median, which a noisy machine moves least."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Give the smallest and the largest."""
    return min(values), max(values)


def _number(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{digits} {unit}"
