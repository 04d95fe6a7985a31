"""Hooks of sites, by which other systems create runners."""
