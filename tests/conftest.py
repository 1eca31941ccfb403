"""What every test shares: pictures without a screen, properties without a deadline."""

import os

import hypothesis

os.environ.setdefault("MPLBACKEND", "Agg")

# A deadline measures the machine: the first call of a torch function may take a second.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
