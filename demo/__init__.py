"""The whole way of a photo, through real processes: `python -m demo run`, `python -m demo up`."""
