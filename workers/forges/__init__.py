"""Where work is handed over for review: one port, and an adapter for each kind of forge."""
