"""Smaller networks for the edge, and what each costs: int8, float16, fewer channels."""
