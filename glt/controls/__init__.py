"""What could make a ticket look trivial, one control per file; :func:`glt.controlled.controls` runs them."""
