"""Sweeps: a grid of experiments, run by many workers at once."""
