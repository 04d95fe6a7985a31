"""Variables and secrets of sites and accounts."""
