"""Simulation: replays recorded traces through the policies of real runs."""
