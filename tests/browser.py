"""For tests in a browser: a headless Chromium from which nothing leaves the machine, JupyterLab and Voila on loopback."""

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

REQUIRED = "MAGNITUDE_AE_BROWSER"  # set to "required", a missing browser fails the tests that need one instead of skipping them
NEEDS = "A test in a browser needs"  # how the reason of each such skip begins
SHOTS = "MAGNITUDE_AE_SCREENSHOTS"  # the folder that keeps the screenshots; without it they go to pytest's temporary folder

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
        """An empty page of its own profile; `page.errors` lists what its console and its scripts complain of. Close it when done.

        `options` are those of Playwright's `Browser.new_page`: viewport, color_scheme, ...
        """
        page = self.chromium.new_page(**options)
        page.errors = []
        page.route(lambda url: not LOCAL.match(url), self._stop)
        page.on(
            "websocket", lambda socket: LOCAL.match(socket.url) or self.outside.append(socket.url)
        )
        page.on(
            "console",
            lambda message: message.type == "error"
            and page.errors.append(f"{message.text} ({message.location.get('url', '')})"),
        )
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        return page

    def _stop(self, route):
        self.outside.append(route.request.url)
        route.abort()


def chromium():
    """The path of Chromium or of a browser built on it; None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def demand(*packages):
    """Skips the test that needs a browser and these packages where one is missing; fails it where REQUIRED says so."""
    import pytest

    lacking = [
        f"{package} (pip install -c constraints.txt -e '.[dev,lab]')"
        for package in packages
        if not find_spec(package)
    ]
    lacking += [] if chromium() else ["Chromium (on Debian and Ubuntu: apt-get install chromium)"]
    if lacking:
        (pytest.fail if os.environ.get(REQUIRED) == "required" else pytest.skip)(
            f"{NEEDS} {' and '.join(lacking)}"
        )


@contextmanager
def running():
    """A `Browser`, gone at the end of the block. Inside the block the thread has a running event loop: nothing else may start one."""
    from playwright.sync_api import sync_playwright

    # Chromium refuses its sandbox to root; without a name server no address outside can even be looked up.
    arguments = [
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield Browser(started)
        finally:
            started.close()


@contextmanager
def jupyterlab(folder, home):
    """JupyterLab on loopback, its root `folder`: an object with `url` and `token`. Gone after the block, kernels too."""
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
    ]
    options += [
        "--LabApp.extension_manager=readonly",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with _jupyter(["jupyterlab", *options, "--expose-app-in-browser"], folder, home) as server:

        def address():
            for file in (home / "runtime").glob("jpserver-*.json"):
                return json.loads(file.read_text())["url"]

        server.url = _until(address, server)
        yield server


@contextmanager
def voila(folder, notebook, home):
    """`voila notebook`, called in `folder`, on loopback: an object with `url`. Gone after the block, kernels too."""
    # Voila does not tell which port it found when asked for any; if the one that is free now is taken by then, it looks for another.
    with socket.create_server(("127.0.0.1", 0)) as free:
        options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={free.getsockname()[1]}"]
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
        f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")
    }
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    environment |= {"JUPYTER_TOKEN": server.token, "TMPDIR": str(home), "MPLBACKEND": ""}
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


def open_notebook(page, server, name):
    """Opens a notebook in JupyterLab and waits until its kernel is ready."""
    page.goto(f"{server.url}lab/tree/{name}?token={server.token}")
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'",
        timeout=60_000,
    )


def run_all(page, seconds=240):
    """Runs all cells, as Run > Run All Cells does, and gives their outputs."""
    page.evaluate(
        "window.ran = false; jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.ran = true }); 0"
    )
    page.wait_for_function("window.ran", timeout=1000 * seconds)
    return page.evaluate(
        "jupyterapp.shell.currentWidget.content.model.toJSON().cells.flatMap((cell) => cell.outputs ?? [])"
    )


def settle(explorer):
    """Waits until the kernel has nothing left to do and the picture is on the screen."""
    explorer.evaluate("""async (root) => {
        const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;  // Voila does not tell
        for (let quiet = 0; quiet < 5; quiet = !kernel || kernel.status === "idle" ? quiet + 1 : 0) await new Promise((go) => setTimeout(go, 50));
        await root.querySelector(".magnitude-picture img").decode().catch(() => {});  // the next picture came while this one was decoded
    }""")


def image(explorer):
    """A digest of the picture that an explorer shows."""
    script = "async (img) => new Uint32Array(await crypto.subtle.digest('SHA-256', await (await fetch(img.src)).arrayBuffer())).join()"
    return explorer.locator(".magnitude-picture img").first.evaluate(script)


def answer(explorer, act):
    """Milliseconds from the last thing that `act()` did with keyboard or mouse to the explorer's next picture, measured in the page.

    The clock starts when the browser got the event and stops when the new picture is decoded, ready for the screen.
    """
    settle(explorer)
    explorer.evaluate("""(root) => {
        let from = NaN;
        for (const kind of ["keydown", "pointerdown", "pointermove", "pointerup"]) root.addEventListener(kind, (event) => { from = event.timeStamp }, true);
        window.answered = new Promise((resolve, reject) => {
            root.addEventListener("load", async ({ target }) => { await target.decode(); resolve(performance.now() - from); }, { capture: true, once: true });
            setTimeout(() => reject(new Error("no new picture within 20 s")), 20000);
        });
    }""")
    act()
    return explorer.page.evaluate("window.answered")


def contrasts(explorer):
    """Each text that an explorer shows outside its picture, with the contrast of its colour to what is behind it, as WCAG counts."""
    return explorer.evaluate("""(root) => {
        const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const light = ([red, green, blue]) => 0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
        const ground = (element) => {
            const colour = parse(getComputedStyle(element).backgroundColor);
            return colour[3] === 0 ? ground(element.parentElement) : colour;
        };
        const says = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
        return [...root.querySelectorAll("*")].filter((element) => says(element) && element.checkVisibility() && !element.disabled).map((element) => {
            const [low, high] = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => a - b);
            return [element.textContent.trim(), (high + 0.05) / (low + 0.05)];
        });
    }""")
