"""``python -m glt``."""

from glt.cli import main

if __name__ == "__main__":
    main()
