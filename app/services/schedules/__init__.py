"""Schedules of sites, and the runners that they create."""
