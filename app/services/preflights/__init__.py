"""Checks of what a session of a site would need."""
