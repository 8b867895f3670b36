"""Formulas: scores read from patterns, effects of removing heads, and their uncertainty."""
