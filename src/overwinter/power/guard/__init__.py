"""Whatever happens, limits are put back: the journal of what was changed, and the watchdog that reads it."""
