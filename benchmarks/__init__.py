"""One script per claim about speed; each prints ratios measured in one run."""
