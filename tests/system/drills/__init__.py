"""Drills: what the gateway promises, tried on real processes that are killed, starved and attacked.

python -m tests.system.drills            all of them; a line each, a report in tests/reports
python -m tests.system.drills NAME ...   some of them (--list names all)
python -m tests.system.drills --small    few phones, short times: what a test run can afford
"""
