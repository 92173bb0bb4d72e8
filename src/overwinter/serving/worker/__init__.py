"""The worker process of a served model, and the supervisor's interface to it."""
