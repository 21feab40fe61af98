"""Registered strategies, one file each."""
