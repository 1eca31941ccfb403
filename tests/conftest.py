"""What every test shares: pictures without a screen, properties without a deadline, a browser."""

import os
from collections import Counter

import hypothesis
import pytest
from browser import NEEDS, demand, running

os.environ.setdefault("MPLBACKEND", "Agg")

# A deadline measures the machine: the first call of a torch function may take a second.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium (tests/browser.py). Of one module, since Playwright's event loop would be in the way of other tests."""
    demand("playwright")
    with running() as started:
        yield started
        assert not started.outside, f"requests to other machines: {started.outside}"


def pytest_terminal_summary(terminalreporter):
    """What was measured in the browser; or, loudly, that nothing was done there."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "browser" and report.when == "call":
                terminalreporter.write_line(value)
    reasons = [
        str(report.longrepr[-1])
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple)
    ]
    if lacking := Counter(
        reason.removeprefix("Skipped: ") for reason in reasons if NEEDS in reason
    ):
        terminalreporter.section(
            "THE TESTS IN A BROWSER WERE SKIPPED", sep="!", red=True, bold=True
        )
        for reason, count in lacking.items():
            terminalreporter.write_line(f"{count} tests: {reason}")
