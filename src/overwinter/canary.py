"""How far a woken model may be from its canary's answers at most: what a configuration and a bundle may say.

A bundle states its own tolerance. A stranger's that states a large one would pass for another model's answers.
"""

MAX_TOLERANCE = 0.1  # of a difference, relative to the largest recorded logit; a form in 8 bits needs less than 0.05
