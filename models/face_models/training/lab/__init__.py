"""The paper's laboratory: does a Grad-CAM++ map as a fourth channel help a lightweight network?

Read in this order: settings.py (one study = one table of a TOML file), sources/ (whose photos),
arms.py (what is compared), learning.py (how it learns), bench.py (what is made of what), run.py.
"""
