"""The public tier: checks, stores and forwards photos; keeps people, searches and failures."""
