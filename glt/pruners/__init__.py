"""Registered pruners, one file each."""
