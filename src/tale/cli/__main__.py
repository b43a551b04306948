"""`python -m tale.cli` is `tale`."""

from __future__ import annotations

from tale.cli.main import main

if __name__ == "__main__":
    main()
