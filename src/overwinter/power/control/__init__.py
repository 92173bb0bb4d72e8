"""The control loop: observes, queries the policy, applies its decisions, and pauses the work."""
