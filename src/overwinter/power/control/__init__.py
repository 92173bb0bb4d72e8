"""The control loop: it observes, asks the policy, applies its decisions, and pauses."""
