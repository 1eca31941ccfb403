"""What every test shares: pictures without a screen, properties without a deadline, a browser."""

import os
import resource
import signal
from collections import Counter

import hypothesis
import psutil
import pytest
from browser import NEEDS, demand, running

os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores: a thread for each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline measures the machine: the first call of a torch function may take a second.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# Where several processes share the files (`pytest -n 2`), these begin: they take longest.
LONGEST = ("test_browser.py", "test_resume.py", "test_site.py", "test_cli.py")


def pytest_collection_modifyitems(items):
    """Puts the longest files first; the order within a file stays."""
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium (tests/browser.py).

    It belongs to one module: Playwright's event loop would be in the way of other tests.
    """
    demand("playwright")
    with running() as started:
        yield started
        assert not started.outside, f"requests to other machines: {started.outside}"


@pytest.fixture(scope="module")
def limits():
    """A call that takes too long is interrupted, and one that asks for gigabytes gets none.

    Whoever uses it sets the timer.
    """

    def late(*_):
        raise TimeoutError("the call took too long")

    before = signal.signal(signal.SIGALRM, late)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.signal(signal.SIGALRM, before)


def pytest_terminal_summary(terminalreporter):
    """What was measured in the browser; or, loudly, that nothing was done there."""
    for line in measured(terminalreporter):
        terminalreporter.write_line(line)
    lacking = Counter(reason for reason in reasons_to_skip(terminalreporter) if NEEDS in reason)
    if lacking:
        title = "THE TESTS IN A BROWSER WERE SKIPPED"
        terminalreporter.section(title, sep="!", red=True, bold=True)
    for reason, count in lacking.items():
        terminalreporter.write_line(f"{count} tests: {reason}")


def measured(terminalreporter):
    """What tests recorded under the name "browser"."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        if report.when == "call":
            yield from (value for name, value in report.user_properties if name == "browser")


def reasons_to_skip(terminalreporter):
    """Why tests were skipped."""
    for report in terminalreporter.getreports("skipped"):
        if isinstance(report.longrepr, tuple):
            yield str(report.longrepr[-1]).removeprefix("Skipped: ")
