"""The phone's part, played from a terminal."""
