"""Registered backbones, one file each."""
