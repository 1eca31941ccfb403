"""For tests in a browser: a headless Chromium from which nothing leaves the machine, and servers.

JupyterLab and Voila are started on loopback and are gone at the end of their block.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace

# Set to "required", a missing browser fails the tests that need one instead of skipping them.
REQUIRED = "MAGNITUDE_AE_BROWSER"
# How the reason of each such skip begins.
NEEDS = "A test in a browser needs"
# The folder that keeps the screenshots; without it they go to pytest's temporary folder.
SHOTS = "MAGNITUDE_AE_SCREENSHOTS"

LOCAL = re.compile(
    r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|(file|data|blob|about|chrome-extension):"
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Browser:
    """Opens pages; `outside` lists every request that was made to another machine, and stopped."""

    def __init__(self, chromium):
        self.chromium = chromium
        self.outside = []

    def new_page(self, **options):
        """An empty page of its own profile. Close it when done.

        `page.errors` lists what its console and its scripts complain of. `options` are those of
        Playwright's `Browser.new_page`: viewport, color_scheme, ...
        """
        page = self.chromium.new_page(**options)
        page.errors = []

        def note_socket(socket):
            if not LOCAL.match(socket.url):
                self.outside.append(socket.url)

        def note_message(message):
            if message.type == "error":
                page.errors.append(f"{message.text} ({message.location.get('url', '')})")

        page.route(lambda url: not LOCAL.match(url), self._stop)
        page.on("websocket", note_socket)
        page.on("console", note_message)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        return page

    def _stop(self, route):
        self.outside.append(route.request.url)
        route.abort()


def chromium():
    """The path of Chromium or of a browser built on it; None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def demand(*packages):
    """Skips the test that needs a browser and these packages where one is missing.

    Fails it where REQUIRED says so.
    """
    import pytest

    lacking = [
        f"{package} (pip install -c constraints.txt -e '.[dev,lab]')"
        for package in packages
        if not find_spec(package)
    ]
    if not chromium():
        lacking.append("Chromium (on Debian and Ubuntu: apt-get install chromium)")
    if lacking:
        give_up = pytest.fail if os.environ.get(REQUIRED) == "required" else pytest.skip
        give_up(f"{NEEDS} {' and '.join(lacking)}")


@contextmanager
def running():
    """A `Browser`, gone at the end of the block.

    Inside the block the thread has a running event loop: nothing else may start one.
    """
    from playwright.sync_api import sync_playwright

    arguments = [
        "--disable-gpu",
        # without a name server no address outside can even be looked up
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield Browser(started)
        finally:
            started.close()


# Servers


@contextmanager
def jupyterlab(folder, home):
    """JupyterLab on loopback, its root `folder`: an object with `url` and `token`."""
    settings = (
        home
        / "settings"
        / "@jupyterlab"
        / "apputils-extension"
        / "notification.jupyterlab-settings"
    )
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    options = [
        "--allow-root",
        "--no-browser",
        "--ip=127.0.0.1",
        "--port=0",
        f"--ServerApp.root_dir={folder}",
        "--LanguageServerManager.autodetect=False",
        "--LabApp.extension_manager=readonly",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--expose-app-in-browser",
    ]

    with _jupyter(["jupyterlab", *options], folder, home) as server:

        def address():
            for file in (home / "runtime").glob("jpserver-*.json"):
                return json.loads(file.read_text())["url"]

        server.url = _until(address, server)
        yield server


@contextmanager
def voila(folder, notebook, home):
    """`voila notebook`, called in `folder`, on loopback: an object with `url`."""
    # Voila does not tell which port it found when asked for any. If the one that is free now is
    # taken by then, it looks for another.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}"]

    with _jupyter(["voila", notebook, *options], folder, home) as server:

        def address():
            if said := re.search(r"http://127\.0\.0\.1:\d+/", server.log.read_text()):
                return said[0]

        server.url = _until(address, server)
        yield server


@contextmanager
def _jupyter(command, folder, home):
    "A Jupyter process that writes nowhere but into `folder` and `home`."
    server = SimpleNamespace(token=secrets.token_hex(16), log=home / "log")
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_TOKEN": server.token,
        "TMPDIR": str(home),
        "MPLBACKEND": "",
    }
    with server.log.open("w") as log:
        server.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _until(answer, server, seconds=60):
    "What `answer()` gives as soon as it gives something."
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if found := answer():
                return found
        except ValueError:  # the file is being written
            pass
        time.sleep(0.05)
    raise RuntimeError(f"no server after {seconds} s:\n{server.log.read_text()[-3000:]}")


# JupyterLab


def open_notebook(page, server, name):
    """Opens a notebook in JupyterLab and waits until its kernel is ready."""
    page.goto(f"{server.url}lab/tree/{name}?token={server.token}")
    page.wait_for_function(
        """() => {
            const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
            return context?.session?.kernel?.status === "idle";
        }""",
        timeout=60_000,
    )


def run_all(page, seconds=240):
    """Runs all cells, as Run > Run All Cells does, and gives their outputs."""
    page.evaluate(
        """() => {
            window.ran = false;
            const running = jupyterapp.commands.execute("notebook:run-all-cells");
            running.finally(() => { window.ran = true; });
        }"""
    )
    page.wait_for_function("window.ran", timeout=1000 * seconds)
    return page.evaluate(
        """() => {
            const notebook = jupyterapp.shell.currentWidget.content.model.toJSON();
            return notebook.cells.flatMap((cell) => cell.outputs ?? []);
        }"""
    )


# An explorer on the page


def settle(explorer):
    """Waits until the kernel has nothing left to do and the picture is on the screen."""
    explorer.evaluate(
        """async (root) => {
            const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
            const kernel = context?.session?.kernel;  // Voila does not tell
            let quiet = 0;
            while (quiet < 5) {
                quiet = !kernel || kernel.status === "idle" ? quiet + 1 : 0;
                await new Promise((go) => setTimeout(go, 50));
            }
            const img = root.querySelector(".magnitude-picture img");
            await img.decode().catch(() => {});  // the next picture came meanwhile
        }"""
    )


def image(explorer):
    """A digest of the picture that an explorer shows."""
    return explorer.locator(".magnitude-picture img").first.evaluate(
        """async (img) => {
            const answer = await fetch(img.src);
            const digest = await crypto.subtle.digest("SHA-256", await answer.arrayBuffer());
            return new Uint32Array(digest).join();
        }"""
    )


def answer(explorer, act):
    """Milliseconds from the last thing that `act()` did to the explorer's next picture.

    Measured in the page: the clock starts when the browser got the event of keyboard or mouse, and
    stops when the new picture is decoded, ready for the screen.
    """
    settle(explorer)
    explorer.evaluate(
        """(root) => {
            let from = NaN;
            for (const kind of ["keydown", "pointerdown", "pointermove", "pointerup"]) {
                root.addEventListener(kind, (event) => { from = event.timeStamp; }, true);
            }
            window.answered = new Promise((resolve, reject) => {
                const finish = async (event) => {
                    await event.target.decode();
                    resolve(performance.now() - from);
                };
                root.addEventListener("load", finish, { capture: true, once: true });
                setTimeout(() => reject(new Error("no new picture within 20 s")), 20000);
            });
        }"""
    )
    act()
    return explorer.page.evaluate("window.answered")


def contrasts(explorer):
    """Each text that an explorer shows outside its picture, with its contrast as WCAG counts."""
    return explorer.evaluate(
        """(root) => {
            const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            const light = (colour) => {
                const [red, green, blue] = colour.map((c) => linear(c / 255));
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            };
            const ground = (element) => {
                const colour = parse(getComputedStyle(element).backgroundColor);
                return colour[3] === 0 ? ground(element.parentElement) : colour;
            };
            const hasText = (element) => [...element.childNodes].some(
                (node) => node.nodeType === Node.TEXT_NODE && node.data.trim(),
            );
            const isShown = (element) => element.checkVisibility() && !element.disabled;
            const contrast = (element) => {
                const text = light(parse(getComputedStyle(element).color));
                const behind = light(ground(element));
                return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
            };
            return [...root.querySelectorAll("*")]
                .filter((element) => hasText(element) && isShown(element))
                .map((element) => [element.textContent.trim(), contrast(element)]);
        }"""
    )
