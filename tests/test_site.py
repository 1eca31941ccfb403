"""The documentation site: built from what is here, whole, at home on a disk without a network, and looked at in a browser."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import magnitude_ae as mag

root = Path(__file__).parent.parent
missing = [
    package
    for package in ("sphinx", "furo", "myst_nb", "sphinx-mathjax-offline")
    if find_spec(package) is None
]
if missing:
    pytest.skip(
        f"the site needs {', '.join(missing)}: pip install -c constraints.txt -e '.[dev,docs]'",
        allow_module_level=True,
    )

import build_site  # noqa: E402
import package_map  # noqa: E402

longest_build = 180  # seconds
largest_page = 5_000_000  # bytes
notebooks = list(build_site.chapters())
offline = """
import runpy, socket, sys
def refuse(*arguments): raise OSError("the site is built without a network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# Reading pages


class Page(HTMLParser):
    """What a page holds: ids, links, what it loads, pictures, the text of code, the text of all."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.ids, self.links, self.loads, self.pictures, self.code, self.text = (
            path,
            set(),
            [],
            [],
            [],
            "",
            "",
        )
        self.open = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found["id"]} if "id" in found else set()
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in (
            "script",
            "img",
            "iframe",
            "source",
            "video",
            "audio",
            "embed",
            "object",
            "image",
            "use",
        ):
            self.loads += [
                found[name] for name in ("src", "data", "href", "xlink:href") if name in found
            ]
        if tag == "link" and found.get("rel") not in (
            "next",
            "prev",
            "index",
            "search",
            "canonical",
        ):
            self.loads.append(found["href"])
        if tag == "img":
            self.pictures.append(found)
        if tag in ("pre", "script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            self.open.remove(tag)

    def handle_data(self, data):
        self.code += data if "pre" in self.open else ""
        self.text += data if not {"script", "style"} & set(self.open) else ""


@pytest.fixture(scope="session")
def site(tmp_path_factory, record_testsuite_property):
    """The folder of a site built by the documented command, without a network."""
    folder, start = tmp_path_factory.mktemp("site") / "_site", time.perf_counter()
    command = [
        sys.executable,
        "-c",
        offline,
        str(root / "tools" / "build_site.py"),
        "--out",
        str(folder),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"the site: {seconds:.0f} s")
    record_testsuite_property("seconds to build the site", round(seconds))
    assert seconds < longest_build
    return folder


@pytest.fixture(scope="session")
def pages(site):
    """Path relative to the site -> page."""
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


# What it holds


def test_every_notebook_is_a_page_in_the_order_of_its_number(pages):
    tree = re.search(
        r'<div class="sidebar-tree">.*?</aside>',
        pages["index.html"].path.read_text(encoding="utf-8"),
        re.DOTALL,
    )[0]
    assert re.findall(r'href="nbs/(\w+)\.html"', tree) == notebooks


def test_no_page_is_larger_than_people_wait_for(pages):
    assert not {
        name: page.path.stat().st_size
        for name, page in pages.items()
        if page.path.stat().st_size > largest_page
    }


def test_links_and_anchors_lead_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links + page.loads:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = (
                (page.path.parent / unquote(target.partition("?")[0])).resolve()
                if target
                else page.path
            )
            if not path.is_file():
                broken.append(f"{name}: {link}")
            elif (
                anchor
                and path.suffix == ".html"
                and unquote(anchor) not in pages[path.relative_to(site.resolve()).as_posix()].ids
            ):
                broken.append(f"{name}: {link} has no such place")
    assert not broken


def test_a_page_with_a_broken_link_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#c">x</a><img src="d.png"><script src="https://e.org/f.js"></script>'
    )
    page = Page(tmp_path / "a.html")
    assert page.links == ["b.html#c"] and page.loads == ["d.png", "https://e.org/f.js"]


def test_nothing_is_loaded_from_elsewhere(site, pages):
    assert not [
        f"{name}: {load}"
        for name, page in pages.items()
        for load in page.loads
        if re.match(r"(?:https?:)?//", load)
    ]
    loaded = {
        (page.path.parent / load.partition("?")[0]).resolve()
        for page in pages.values()
        for load in page.loads
        if not load.startswith("data:")
    }
    styles = [path for path in loaded if path.suffix == ".css"]
    assert styles and not [
        path.name
        for path in styles
        if re.search(r"url\(['\"]?(?:https?:)?//|@import", path.read_text(encoding="utf-8"))
    ]
    inline = "\n".join(
        re.sub(r"<pre.*?</pre>", "", page.path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for page in pages.values()
    )
    assert not re.findall(
        r"(?:fetch|import)\(['\"]https?:[^'\"]*|@import url\([^)]*|cdn\.[\w.]+", inline
    )


def test_directives_and_hidden_cells_do_not_show(pages):
    code = {name: page.code for name, page in pages.items() if name.startswith("nbs/")}
    assert len(code) == len(notebooks) and all(len(text) > 1000 for text in code.values())
    assert not [name for name, text in code.items() if "#|" in text or "nbdev_export" in text]


def test_every_picture_has_words(pages):
    assert not [
        (name, picture)
        for name, page in pages.items()
        for picture in page.pictures
        if not picture.get("alt")
    ]
    assert sum(len(page.pictures) for page in pages.values()) > 60


def test_every_public_name_is_in_the_reference_with_its_notebook(pages):
    html = pages["reference/index.html"].path.read_text(encoding="utf-8")
    rows = dict(
        re.findall(
            r'href="(\w+\.html#magnitude_ae[\w.]+)".*?</td>.*?href="(\.\./nbs/\w+\.html#def-[\w-]+)"',
            html,
            re.DOTALL,
        )
    )
    shown = {link.partition("#")[2].removeprefix("magnitude_ae.") for link in rows}
    names = {f"{mag._NAMES[name]}.{name}" for name in mag.__all__ if name in mag._NAMES}
    for module in mag._MODULES:
        names |= {
            f"{module}.{name}"
            for name in getattr(mag, module).__all__
            if callable(getattr(getattr(mag, module), name))
        }
    assert names == shown and len(names) > 50


def test_parameters_and_the_notebook_stand_in_the_reference(pages):
    text = " ".join(pages["reference/weighting.html"].text.split())
    assert "one over the unit of distance" in text and "Explained in 05" in text
    assert "each called with the Training after every epoch" in " ".join(
        pages["reference/autoencoder.html"].text.split()
    )


def test_every_term_of_the_glossary_links_to_a_notebook(pages):
    html = pages["glossary.html"].path.read_text(encoding="utf-8")
    entries = re.findall(r"<dt id.*?<dd>(.*?)</dd>", html, re.DOTALL)
    assert len(entries) > 30 and all("nbs/" in entry or "See " in entry for entry in entries)


# What it says


def test_the_map_is_fresh():
    assert package_map.main(["--check"]) == 0, "run `python docs/package_map.py`"


def test_the_map_draws_each_module_and_the_imports_between_them():
    at_once, later = package_map.imports()
    drawn = package_map.arrows(at_once, later)
    assert ("fast_solvers", "weighting") in drawn and (
        "similarity",
        "weighting",
    ) not in drawn  # the second follows from others
    both = {module: at_once[module] | later[module] for module in at_once}
    reached = {module: {source for source, target in drawn if target == module} for module in both}
    assert all(
        package_map.beyond(reached, module) == package_map.beyond(both, module) for module in both
    )
    picture = package_map.draw()
    assert all(f">{module}<" in picture for module in at_once)


def test_what_you_knew_before_works_as_the_page_says(pages, capsys):
    text = (root / "docs" / "coming_from.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    names = {}
    for block in blocks:
        exec(block, names)
    assert "dimension there" in capsys.readouterr().out


def test_claims_agree_with_the_stored_results():
    """Numbers that the page reads off the notebooks, computed afresh."""
    from magnitude_ae.reproduce import Experiment, stored

    def each(task, *recipe, seeds=range(5), **changes):
        return [
            stored(
                Experiment(task, *recipe, seed=seed, **changes), root / "results" / "experiments"
            )[0]
            for seed in seeds
        ]

    def rho(results):
        return [result["table"]["Magnitude AE"]["rho"] for result in results]

    def kept(results):
        trained, new = (
            np.mean([result["held_out"][f"{kind}, within the whole"]["rho"] for result in results])
            for kind in ("trained", "new")
        )
        return new / trained

    expected = {
        "ball_joint": np.median(rho(each("ball", "joint"))),
        "ball_default": np.median(rho(each("ball"))),
        "saw_on_roll": np.mean(rho(each("Swiss roll", "predictor-corrector"))),
        "dial_rho_low": np.mean(rho(each("ball", weighting_coefficient=3.0))),
        "dial_rho_high": np.mean(rho(each("ball", weighting_coefficient=100.0))),
        "kept_roll": kept(each("Swiss roll")),
        "kept_ball": kept(each("ball")),
        "kept_mnist": kept(each("MNIST", seeds=range(3))),
        "ae_rho": np.mean(rho(each("MNIST", seeds=range(3)))),
        "ae_trust": np.mean(
            [
                result["table"]["Magnitude AE"]["trustworthiness"]
                for result in each("MNIST", seeds=range(3))
            ]
        ),
    }
    said = {name: float(build_site.found(*build_site.FINDINGS[name])) for name in expected}
    assert said == pytest.approx(expected, abs=6e-4)


def test_a_number_that_is_not_there_or_not_alone_stops_the_build():
    with pytest.raises(ValueError, match="nothing"):
        build_site.found("03_solvers", r"no such words (\d+)")
    with pytest.raises(ValueError, match="mend the pattern"):
        build_site.found("03_solvers", r"(\d)")


# How it is made


def test_links_are_made_to_lead_somewhere():
    text = "[a](04_fast_solvers.ipynb#The-order) [b](../results/experiments) [c](../LICENSE) [d](index.ipynb) `[e](f)` [g](https://h.org)"
    expected = "[a](04_fast_solvers.ipynb#the-order) `results/experiments` [c](../LICENSE) [d](../index.md) `[e](f)` [g](https://h.org)"
    assert build_site.relinked(text.replace("[b]", "[experiments]"), "nbs") == expected
    with pytest.raises(FileNotFoundError, match="nowhere.ipynb"):
        build_site.relinked("[a](nowhere.ipynb)", "nbs")


def code(source: str, *outputs: dict) -> dict:
    return {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": source,
        "outputs": list(outputs),
    }


def test_cells_are_shown_as_readers_want_them():
    assert (
        build_site.shown_code(code("#| hide\nimport x"), "m", "")
        == []
        == build_site.shown_code(code("#| default_exp m"), "m", "")
    )
    place, cell = build_site.shown_code(code("#| export\ndef f(): pass\nG = 1\n_H = 2"), "m", "")
    assert (
        place["source"] == "(def-m-f)=\n(def-m-G)="
        and cell["source"].startswith("def f")
        and cell["metadata"]["tags"] == ["exported"]
    )
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"}
    outputs = [
        {"output_type": "display_data", "data": data}
        for data in (view, view | {"image/png": "still"})
    ]
    (cell,) = build_site.shown_code(code("#| notest\n#| fig-alt: A disc.\nf()", *outputs), "m", "")
    assert [set(output["data"]) for output in cell["outputs"]] == [{"text/plain", "image/png"}]
    assert cell["source"] == "f()" and cell["metadata"]["mystnb"]["image"]["alt"] == "A disc."
    (cell,) = build_site.shown_code(code("import x"), "m", "")
    assert cell["metadata"]["tags"] == ["hide-input"]


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit):
        build_site.main(["--out", str(tmp_path)])
    assert (tmp_path / "thesis.tex").exists() and "holds something else" in capsys.readouterr().err


# In a browser, opened as files


@pytest.fixture
def tab(browser):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    yield page
    page.close()


def visit(tab, site, name):
    """Opens a page and waits for its formulas."""
    tab.goto((site / name).as_uri())
    tab.evaluate(
        "() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true"
    )


def test_every_page_opens_whole(site, pages, browser, tab):
    problems, formulas = [], Counter()
    for name in pages:
        visit(tab, site, name)
        problems += [
            f"{name}: picture {source}"
            for source in tab.evaluate(
                "() => [...document.images].filter(image => image.loading !== 'lazy' && !image.naturalWidth).map(image => image.src)"
            )
        ]
        asked, drawn, wrong = tab.evaluate(
            "() => ['.math', 'mjx-container svg', '[data-mml-node=merror]'].map(what => document.querySelectorAll(what).length)"
        )
        formulas[name] = drawn
        problems += [f"{name}: {drawn} of {asked} formulas, {wrong} with errors"] * (
            drawn < asked or wrong > 0
        )
        problems += [f"{name}: {error}" for error in tab.errors]
        tab.errors.clear()
    assert not problems and not browser.outside
    assert formulas["nbs/00_magnitude.html"] > 50


# What reaches beyond the right edge, and not inside a box of its own that scrolls.
cut_off = """() => [...document.querySelectorAll('article *')].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= window.innerWidth + 1 || element.closest('mjx-assistive-mml')) return false;
    for (let outer = element.parentElement; outer.tagName !== 'ARTICLE'; outer = outer.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(outer).overflowX)) return false;
    return true;
}).map(element => element.outerHTML.slice(0, 80))"""


def test_no_page_is_wider_than_a_phone(site, pages, tab):
    tab.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for name in pages:
        visit(tab, site, name)
        if found := tab.evaluate(cut_off):
            wide[name] = found
    assert not wide
    visit(tab, site, "about.html")
    tab.evaluate(
        "() => document.querySelector('article h1').insertAdjacentHTML('beforeend', '<div style=\"width: 1000px\">wide</div>')"
    )
    assert tab.evaluate(cut_off)


def test_search_finds_words_from_a_file(site, tab):
    visit(tab, site, "index.html")
    tab.fill("input[name=q]", "Vecchia")
    tab.press("input[name=q]", "Enter")
    tab.wait_for_selector("#search-results li a")
    found = tab.eval_on_selector_all(
        "#search-results li a", "links => links.map(link => link.getAttribute('href'))"
    )
    assert any("nbs/04_fast_solvers.html" in link for link in found) and any(
        "reference/fast_solvers.html" in link for link in found
    )
    assert not tab.errors


def test_dark_and_light_can_be_chosen(site, tab):
    tab.emulate_media(color_scheme="light")
    visit(tab, site, "nbs/05_weighting.html")
    look = "() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('div.cell_input .highlight')).backgroundColor].map(colour => colour.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3)"
    seen = {}
    for _ in range(3):
        seen[tab.evaluate("() => document.body.dataset.theme")] = tab.evaluate(look)
        tab.locator(".theme-toggle:visible").first.click()
    assert set(seen) == {"auto", "light", "dark"}
    assert max(seen["dark"]) < 60 and min(seen["light"]) > 200 and seen["auto"] == seen["light"]


def test_a_box_of_the_map_leads_to_its_notebook(site, tab):
    visit(tab, site, "map.html")
    tab.locator(".map a", has_text="fast_solvers").click()
    assert tab.url.endswith("/nbs/04_fast_solvers.html")
