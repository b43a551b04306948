"""The figures that tale promises, each measured beside a baseline in the same run."""
