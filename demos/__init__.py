"""The two demonstrations, run for real: each drives tale on a terminal and checks its claims."""
