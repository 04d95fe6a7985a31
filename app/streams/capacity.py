"""What a web process has room for beside its event streams."""

MOST_CONNECTIONS = 512
"""The connections of a process besides its streams."""
RESERVED_DESCRIPTORS = MOST_CONNECTIONS + 256
"""Descriptors that a process needs for everything but its streams."""
