"""Many variants of one training, side by side, at little more than one run's cost.

`compare(build, data, variants)` trains from equal weights over equal batches;
`strength_map(build, data, penalties, strengths, seeds)` does so with penalties.
"""

from workbench.experiments.comparing import compare
from workbench.experiments.comparison import Comparison, load_comparison
from workbench.experiments.records import Record
from workbench.experiments.resume_traps import spring_traps
from workbench.experiments.strength_grid import StrengthGrid, load_strength_grid
from workbench.experiments.strengths import strength_map
from workbench.experiments.variants import Variant

__all__ = [
    "Comparison",
    "Record",
    "StrengthGrid",
    "Variant",
    "compare",
    "load_comparison",
    "load_strength_grid",
    "spring_traps",
    "strength_map",
]
