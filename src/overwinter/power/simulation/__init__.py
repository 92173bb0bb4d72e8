"""Recorded traces replayed through the policies of real runs."""
