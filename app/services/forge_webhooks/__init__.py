"""Webhooks of forges, by which they tell what happens to the pull requests of runners."""
