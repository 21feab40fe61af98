"""Registered schedules, one file each."""
