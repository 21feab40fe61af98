"""One file per command; heavy imports happen inside, so that ``glt --help`` is quick."""
