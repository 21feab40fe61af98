"""Registered ways to batch a graph for training, one file each."""
