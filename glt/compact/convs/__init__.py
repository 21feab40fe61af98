"""How layers are written as steps that can be shrunk, one file per layer class."""
