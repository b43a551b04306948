"""`python -m documentation`: write the pages of the reference that are made from the code."""

from __future__ import annotations

from documentation.pages import write

if __name__ == "__main__":
    write()
