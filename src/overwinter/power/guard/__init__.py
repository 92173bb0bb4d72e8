"""Guard of power limits: a journal of changes, and a watchdog that restores them when the run is killed."""
