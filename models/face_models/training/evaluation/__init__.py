"""How well people are told apart: 1:1, 1:N and by group, with intervals, as tables and curves."""
