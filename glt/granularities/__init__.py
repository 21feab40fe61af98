"""Registered granularities of pruning, one file each."""
