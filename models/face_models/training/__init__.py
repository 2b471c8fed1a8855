"""Training, evaluation and export of the networks: the only code that imports torch."""
