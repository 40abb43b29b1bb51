"""The checks, one module for each notebook: `exercise_1`, `exercise_2` and so on."""

NOTEBOOKS = ("04_clipping",)
