"""Equations of cells as programs, and their derivatives."""
