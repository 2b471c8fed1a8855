"""How time grows with size: the exponent of a fit, and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPORTS = Path(__file__).parents[1] / "reports"


@dataclass(frozen=True)
class Growth:
    """`times` by label, a time for each size; the slope in the log-log plot is the exponent."""

    name: str  # of the figures and of the plot
    what: str  # the sizes are of
    unit: str
    sizes: Sequence[float]
    times: Mapping[str, Sequence[float]]

    @property
    def exponents(self) -> Mapping[str, float]:
        return {label: exponent(self.sizes, times) for label, times in self.times.items()}

    def figures(self) -> Mapping[str, float]:
        first, *others = self.exponents.values()
        named = zip(list(self.times)[1:], others, strict=True)
        more = {f"{self.name}_{label}_growth_exponent": slope for label, slope in named}
        return {f"{self.name}_growth_exponent": first} | more

    def draw(self) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
        for label, slope in self.exponents.items():
            axes.loglog(self.sizes, self.times[label], "o-", label=f"{label}: n^{slope:.2f}")
        axes.set(xlabel=self.what, ylabel=self.unit)
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
        figure.savefig(REPORTS / f"{self.name}-growth.png", dpi=120)
        plt.close(figure)

    def __str__(self) -> str:
        told = ", ".join(f"{label} n^{slope:.2f}" for label, slope in self.exponents.items())
        return f"Growth with {self.what}: {told}"


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    return round(float(np.polyfit(np.log(sizes), np.log(times), 1)[0]), 4)
