"""Who judges a lead, how two voices become a decision, and how a human no sticks."""
