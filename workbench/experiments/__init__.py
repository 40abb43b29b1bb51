"""Many variants of one training, side by side, at little more than one run's cost.

`compare(build, data, variants)` trains from equal weights over equal batches.
"""

from workbench.experiments.comparing import compare
from workbench.experiments.comparison import Comparison, load_comparison
from workbench.experiments.records import Record
from workbench.experiments.variants import Variant

__all__ = ["Comparison", "Record", "Variant", "compare", "load_comparison"]
