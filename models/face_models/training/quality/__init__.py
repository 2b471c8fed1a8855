"""Fits the quality and the occlusion network, and measures whether they foretell errors."""
