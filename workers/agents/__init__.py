"""Agents: a port (`base`), an adapter for each, and the `registry` of them."""
