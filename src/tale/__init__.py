"""A local agent that answers at once and works in the background."""

__version__ = "0.1.0"
