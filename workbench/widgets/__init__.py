"""Panels: traits plus plots, one per file, no computation of their own."""
