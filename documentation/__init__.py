"""The documentation's tools: what the reference is made by, and what holds the pages to the truth.

Nothing of it ships. The pages are in `docs/`; `zensical.toml` says how a site is made of them.
"""
