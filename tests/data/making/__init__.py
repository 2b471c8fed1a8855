"""How the demo people are made: see ../make_people.py."""
