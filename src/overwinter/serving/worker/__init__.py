"""The worker process of a served model, and how the supervisor starts it and speaks with it."""
