"""The documentation site: built from what is here, complete, and readable without a network.

It is also looked at in a browser, opened as files.
"""

import itertools
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

import book
import layers
import numpy as np
import pytest

import magnitude_ae as mag

root = book.root
needed = ("sphinx", "furo", "myst_nb", "sphinx-mathjax-offline")
if missing := [package for package in needed if find_spec(package) is None]:
    pytest.skip(
        f"the site needs {', '.join(missing)}: pip install -c constraints.txt -e '.[dev,docs]'",
        allow_module_level=True,
    )

package_map = pytest.importorskip("package_map")
site_pages = pytest.importorskip("site_pages")

longest_build = 180  # seconds
largest_page = 5_000_000  # bytes
notebooks = book.notebooks()
offline = """
import os, runpy, socket, sys
def refuse(*arguments): raise OSError("the site is built without a network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# Reading pages


class Page(HTMLParser):
    """What a page holds: ids, links, what it loads, pictures, the text of code, the text of all."""

    # What a tag loads stands in these attributes.
    loading = dict.fromkeys(
        ("script", "img", "iframe", "source", "video", "audio", "embed", "object", "image", "use"),
        ("src", "data", "href", "xlink:href"),
    )
    # Links in a page's head that nobody follows while reading it.
    passive = ("next", "prev", "index", "search", "canonical")

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.ids = set()
        self.links = []
        self.loads = []
        self.pictures = []
        self.code = ""
        self.text = ""
        self.open = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in self.passive:
            self.loads.append(found["href"])
        if tag == "img":
            self.pictures.append(found)
        if tag in ("pre", "script", "style"):
            self.open.append(tag)
        self.loads += [found[name] for name in self.loading.get(tag, ()) if name in found]

    def handle_endtag(self, tag):
        if tag in self.open:
            self.open.remove(tag)

    def handle_data(self, data):
        if "pre" in self.open:
            self.code += data
        if not {"script", "style"} & set(self.open):
            self.text += data

    @property
    def words(self):
        "The text with single spaces."
        return " ".join(self.text.split())


@pytest.fixture(scope="session")
def site(tmp_path_factory, record_testsuite_property):
    """The folder of a site built by the documented command, without a network."""
    folder = tmp_path_factory.mktemp("site") / "_site"
    start = time.perf_counter()
    command = [sys.executable, "-c", offline, str(root / "tools" / "build_site.py")]
    done = subprocess.run(
        [*command, "--out", str(folder)],
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


def test_every_notebook_is_a_page_on_its_shelf(pages):
    tree = re.search(r'<div class="sidebar-tree">.*?</aside>', pages["index.html"].html, re.DOTALL)
    by_shelf = [notebook.name for shelf in book.SHELVES for notebook in book.on(shelf)]
    assert re.findall(r'href="nbs/(\w+)\.html"', tree[0]) == by_shelf
    captions = re.findall(r'<span class="caption-text">(.*?)</span>', tree[0])
    assert [shelf.name for shelf in book.SHELVES] == captions[1:-1]


def test_the_welcome_shows_the_reading_path(pages):
    words = pages["index.html"].words
    assert all(topic.name in words and topic.question in words for topic in book.TOPICS)


def test_no_page_is_larger_than_people_wait_for(pages):
    sizes = {name: page.path.stat().st_size for name, page in pages.items()}
    assert {name: size for name, size in sizes.items() if size > largest_page} == {}


def test_links_and_anchors_lead_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links + page.loads:
            problem = where_it_breaks(link, page, site, pages)
            broken += [f"{name}: {link} {problem}"] if problem else []
    assert broken == []


def where_it_breaks(link, page, site, pages):
    """What is wrong with a link of a page, in words; empty for one that leads somewhere."""
    target, _, anchor = link.partition("#")
    if re.match(r"[a-z]+:", target):
        return ""
    path = page.path
    if target:
        path = (page.path.parent / unquote(target.partition("?")[0])).resolve()
    if not path.is_file():
        return "is not there"
    if anchor and path.suffix == ".html":
        ids = pages[path.relative_to(site.resolve()).as_posix()].ids
        return "" if unquote(anchor) in ids else "has no such place"
    return ""


def test_a_page_with_a_broken_link_is_noticed(tmp_path):
    html = '<a href="b.html#c">x</a><img src="d.png"><script src="https://e.org/f.js"></script>'
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text("<p id='d'>no c</p>")
    page, other = Page(tmp_path / "a.html"), Page(tmp_path / "b.html")
    assert page.links == ["b.html#c"]
    assert page.loads == ["d.png", "https://e.org/f.js"]
    both = {"a.html": page, "b.html": other}
    found = [where_it_breaks(link, page, tmp_path, both) for link in page.links + page.loads]
    assert found == ["has no such place", "is not there", ""]


def test_nothing_is_loaded_from_elsewhere(pages):
    outside = re.compile(r"(?:https?:)?//")
    loads = [(page, load) for page in pages.values() for load in page.loads]
    assert [load for _, load in loads if outside.match(load)] == []
    files = {
        (page.path.parent / load.partition("?")[0]).resolve()
        for page, load in loads
        if not load.startswith("data:")
    }
    styles = {path.name: path.read_text("utf-8") for path in files if path.suffix == ".css"}
    imports = re.compile(r"url\(['\"]?(?:https?:)?//|@import")
    assert styles
    assert [name for name, text in styles.items() if imports.search(text)] == []
    requests = re.compile(r"(?:fetch|import)\(['\"]https?:[^'\"]*|@import url\([^)]*|cdn\.[\w.]+")
    shown = {
        name: re.sub(r"<pre.*?</pre>", "", page.html, flags=re.DOTALL)
        for name, page in pages.items()
    }
    assert {
        name: requests.findall(text) for name, text in shown.items() if requests.search(text)
    } == {}


def test_directives_and_hidden_cells_do_not_show(pages):
    code = {name: page.code for name, page in pages.items() if name.startswith("nbs/")}
    assert len(code) == len(notebooks)
    assert all(len(text) > 1000 for text in code.values())
    hidden = re.compile(r"#\s?\|\s?\w|nbdev_export")
    assert [name for name, text in code.items() if hidden.search(text)] == []


def test_every_picture_has_words(pages):
    pictures = [(name, picture) for name, page in pages.items() for picture in page.pictures]
    assert [name for name, picture in pictures if not picture.get("alt")] == []
    assert len(pictures) > 60


def test_every_public_name_is_in_the_reference_with_its_notebook(pages):
    row = re.compile(
        r'href="([\w.]+\.html#magnitude_ae[\w.]+)".*?</td>.*?href="(\.\./nbs/\w+\.html#def-[\w-]+)"',
        re.DOTALL,
    )
    rows = dict(row.findall(pages["reference/index.html"].html))
    shown = {link.partition("#")[2].removeprefix("magnitude_ae.") for link in rows}
    names = {f"{module}.{part}" for module, part, _ in site_pages.public().values()}
    assert names == shown
    face = {name for name in mag.__all__ if callable(getattr(mag, name))}
    assert face <= {name.rpartition(".")[2] for name in shown}


def test_parameters_and_the_notebook_stand_in_the_reference(pages):
    module = book.home("choose_scale")
    words = pages[f"reference/{module}.html"].words
    assert "one over the unit of distance" in words
    assert f"Explained in {book.modules()[module].label}" in words
    words = pages["reference/autoencoder.html"].words
    assert "each called with the Training after every epoch" in words


def test_every_term_of_the_glossary_links_to_a_notebook(pages):
    entries = re.findall(r"<dt id.*?<dd>(.*?)</dd>", pages["glossary.html"].html, re.DOTALL)
    assert len(entries) > 30
    assert [entry for entry in entries if "nbs/" not in entry and "See " not in entry] == []


# What it says


def test_the_map_is_fresh():
    assert package_map.main(["--check"]) == 0, "run `python tools/package_map.py`"


def test_the_map_draws_each_module_and_the_imports_between_them():
    everything, _ = package_map.imports()
    drawn = package_map.arrows()
    reached = {module: set() for module in everything}
    for imported, module in drawn:
        reached[module].add(imported)
    for module in everything:
        assert layers.beyond(reached, module) == layers.beyond(everything, module)
    picture = package_map.draw()
    assert picture.count("<path class=") == len(drawn)
    assert all(f'id="map-{name}"' in picture for name in package_map.families())
    assert all(f"{name}.ipynb" in picture for name in notebooks)


def test_no_order_of_a_layer_is_under_less_strain():
    "Against all orders, summed over the arrows."
    rng = np.random.default_rng(0)
    band, above = list("abcdef"), {"u": -300.0, "v": 0.0, "w": 200.0}
    pairs = [(a, b) for a in [*above, *band] for b in band if a != b]

    def strain(order, drawn):
        x = above | {name: package_map.middle(k, len(order)) for k, name in enumerate(order)}
        return sum(
            abs(x[b] - x[a]) if a in above or x[b] > x[a] else 1e4  # arrows had better lead right
            for a, b in drawn
        )

    for _ in range(5):
        drawn = [pair for pair in pairs if rng.random() < 0.25]
        found = package_map.least_strained(band, drawn, above)
        least = min(strain(order, drawn) for order in itertools.permutations(band))
        assert strain(found, drawn) == pytest.approx(least)


def test_what_you_knew_before_works_as_the_page_says(capsys):
    assert run_blocks("coming_from") >= 6
    assert "dimension there" in capsys.readouterr().out


def test_what_0_1_did_is_got_back_as_the_page_says():
    assert run_blocks("migration") >= 4


def test_choosing_works_as_the_page_says():
    assert run_blocks("choosing") >= 4


def run_blocks(page):
    "Runs the Python of a page from top to bottom, and tells how many blocks it has."
    text = (root / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    return len(blocks)


def test_claims_agree_with_the_stored_results():
    """Numbers that the page reads off the notebooks, computed afresh."""
    from magnitude_ae.reproduce import Experiment, stored

    def each(task, *recipe, n_seeds=5, **changes):
        folder = root / "results" / "experiments"
        runs = [Experiment(task, *recipe, seed=seed, **changes) for seed in range(n_seeds)]
        return [stored(run, folder)[0] for run in runs]

    def column(results, name):
        return [result["table"]["Magnitude AE"][name] for result in results]

    def kept(results):
        def mean(kind):
            name = f"{kind}, within the whole"
            return np.mean([result["held_out"][name]["rho"] for result in results])

        return mean("new") / mean("trained")

    def of_new(results):
        return np.mean([result["held_out"]["new, within the whole"]["rho"] for result in results])

    digits = each("MNIST", "burn-in", n_seeds=3)
    expected = {
        "ball_joint": np.median(column(each("ball", "joint"), "rho")),
        "ball_burn_in": np.median(column(each("ball", "burn-in"), "rho")),
        "saw_on_roll": np.mean(column(each("Swiss roll", "predictor-corrector"), "rho")),
        "dial_rho_low": np.mean(column(each("ball", "burn-in", weighting_coefficient=3.0), "rho")),
        "dial_rho_high": np.mean(
            column(each("ball", "burn-in", weighting_coefficient=100.0), "rho")
        ),
        "kept_roll": kept(each("Swiss roll")),
        "kept_ball": kept(each("ball")),
        "kept_ball_burn_in": kept(each("ball", "burn-in")),
        "kept_mnist": kept(digits),
        "ae_rho": np.mean(column(digits, "rho")),
        "ae_trust": np.mean(column(digits, "trustworthiness")),
    }
    said = {name: float(site_pages.found(*site_pages.FINDINGS[name])) for name in expected}
    assert said == pytest.approx(expected, abs=6e-4)
    shorter = {
        "new_ball": of_new(each("ball")),
        "new_ball_burn_in": of_new(each("ball", "burn-in")),
        "new_ball_report": of_new(each("ball", "report")),
    }
    said = {name: float(site_pages.found(*site_pages.FINDINGS[name])) for name in shorter}
    assert said == pytest.approx(shorter, abs=6e-3)


@pytest.mark.parametrize("name", site_pages.FINDINGS)
def test_every_number_of_a_page_is_said_by_a_notebook(name):
    assert site_pages.found(*site_pages.FINDINGS[name])


@pytest.mark.parametrize("where", ["00_magnitude", None])
def test_a_number_that_is_not_there_or_not_alone_stops_the_build(where):
    with pytest.raises(ValueError, match="nothing"):
        site_pages.found(where, r"no such words (\d+)")
    with pytest.raises(ValueError, match="mend the pattern"):
        site_pages.found(where, r"(\d)")


# How it is made


def test_links_are_made_to_lead_somewhere():
    text = (
        "[a](00_magnitude.ipynb#Two-Points) [experiments](../results/experiments) "
        "[c](../LICENSE) [d](index.ipynb) `[e](f)` [g](https://h.org)"
    )
    expected = (
        "[a](00_magnitude.ipynb#two-points) `results/experiments` "
        "[c](../LICENSE) [d](../index.md) `[e](f)` [g](https://h.org)"
    )
    assert site_pages.relinked(text, "nbs") == expected
    with pytest.raises(FileNotFoundError, match="nowhere.ipynb"):
        site_pages.relinked("[a](nowhere.ipynb)", "nbs")


def code(source: str, *outputs: dict) -> dict:
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": source}
    return {**cell, "outputs": list(outputs)}


@pytest.mark.parametrize("source", ["#| hide\nimport x", "# | hide\nf()", "#| default_exp m.n"])
def test_plumbing_is_not_shown(source):
    assert site_pages.shown_code(code(source), "m", "") == []


@pytest.mark.parametrize("directive", ["#| export", "# | export"])
def test_exported_cells_can_be_linked_to(directive):
    source = f"{directive}\ndef f(): pass\nG = 1\n_H = 2"
    place, cell = site_pages.shown_code(code(source), "solvers.m", "")
    assert place["source"] == "(def-solvers.m-function-f)=\n(def-solvers.m-constant-G)="
    assert cell["source"].startswith("def f")
    assert cell["metadata"]["tags"] == ["exported"]


def test_widgets_are_shown_as_their_stills():
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"}
    still = view | {"image/png": "still"}
    outputs = [{"output_type": "display_data", "data": data} for data in (view, still)]
    source = "#| notest\n#| fig-alt: A disc.\nf()"
    (cell,) = site_pages.shown_code(code(source, *outputs), "m", "")
    assert [set(output["data"]) for output in cell["outputs"]] == [{"text/plain", "image/png"}]
    assert cell["source"] == "f()"
    assert cell["metadata"]["mystnb"]["image"]["alt"] == "A disc."


def test_imports_are_folded():
    (cell,) = site_pages.shown_code(code("import x"), "m", "")
    assert cell["metadata"]["tags"] == ["hide-input"]


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path, capsys):
    import build_site

    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit):
        build_site.main(["--out", str(tmp_path)])
    assert (tmp_path / "thesis.tex").exists()
    assert "holds something else" in capsys.readouterr().err


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


# What reaches beyond the right edge, and not inside a box of its own that scrolls.
cut_off = """() => [...document.querySelectorAll('article *')].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= window.innerWidth + 1) return false;
    if (element.closest('mjx-assistive-mml')) return false;
    let outer = element.parentElement;
    for (; outer.tagName !== 'ARTICLE'; outer = outer.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(outer).overflowX)) return false;
    return true;
}).map(element => element.outerHTML.slice(0, 80))"""

# Blocks of code, and of what they printed, that show a bar to be scrolled sideways.
scrolling = """() => [...document.querySelectorAll('article pre')]
    .filter(block => block.scrollWidth > block.clientWidth + 1)
    .map(block => block.innerText.split('\\n').reduce((a, b) => a.length > b.length ? a : b))"""

looks = """() => ({
    pictures: [...document.images]
        .filter(image => image.loading !== 'lazy' && !image.naturalWidth)
        .map(image => image.src),
    asked: document.querySelectorAll('.math').length,
    drawn: document.querySelectorAll('mjx-container svg').length,
    wrong: document.querySelectorAll('[data-mml-node=merror]').length,
})"""


def test_every_page_opens_whole(site, pages, browser, tab):
    problems = {}
    formulas = Counter()
    for name in pages:
        visit(tab, site, name)
        seen = tab.evaluate(looks)
        formulas[name] = seen["drawn"]
        found = [f"picture {source}" for source in seen["pictures"]] + tab.errors
        if seen["drawn"] < seen["asked"] or seen["wrong"]:
            found.append(f"formulas {seen}")
        found += [f"scrolls sideways: {line}" for line in tab.evaluate(scrolling)]
        if found:
            problems[name] = found
        tab.errors.clear()
    assert problems == {}
    assert not browser.outside
    assert formulas["nbs/00_magnitude.html"] > 50


def test_code_that_scrolls_sideways_is_noticed(site, tab):
    visit(tab, site, "about.html")
    assert tab.evaluate(scrolling) == []
    for length, scrolls in ((100, False), (110, True)):
        line = "x" * length
        tab.evaluate("line => document.querySelector('article pre').textContent = line", line)
        assert tab.evaluate(scrolling) == [line] * scrolls


def test_no_page_is_wider_than_a_phone(site, pages, tab):
    tab.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for name in pages:
        visit(tab, site, name)
        if found := tab.evaluate(cut_off):
            wide[name] = found
    assert wide == {}
    visit(tab, site, "about.html")
    broad = '<div style="width: 1000px">wide</div>'
    tab.evaluate(
        "html => document.querySelector('article h1').insertAdjacentHTML('beforeend', html)", broad
    )
    assert tab.evaluate(cut_off)


def test_search_finds_words_from_a_file(site, tab):
    visit(tab, site, "index.html")
    tab.fill("input[name=q]", "Vecchia")
    tab.press("input[name=q]", "Enter")
    module = book.home("Vecchia")
    for page in (f"nbs/{book.modules()[module].name}.html", f"reference/{module}.html"):
        tab.wait_for_selector(f"#search-results a[href*='{page}']")
    assert not tab.errors


def test_dark_and_light_can_be_chosen(site, tab):
    tab.emulate_media(color_scheme="light")
    visit(tab, site, "nbs/00_magnitude.html")
    brightness = """() => [document.body, document.querySelector('div.cell_input .highlight')]
        .map(element => getComputedStyle(element).backgroundColor.match(/\\d+/g).slice(0, 3))
        .map(colour => colour.map(Number).reduce((a, b) => a + b) / 3)"""
    seen = {}
    for _ in range(3):
        theme = tab.evaluate("() => document.body.dataset.theme")
        seen[theme] = tab.evaluate(brightness)
        tab.locator(".theme-toggle:visible").first.click()
    assert set(seen) == {"auto", "light", "dark"}
    assert max(seen["dark"]) < 60
    assert min(seen["light"]) > 200
    assert seen["auto"] == seen["light"]


def test_a_box_of_the_map_leads_to_its_notebook(site, tab):
    visit(tab, site, "map.html")
    tab.locator("#map-boundary a").click()
    assert tab.url.endswith(f"/nbs/{book.modules()['boundary'].name}.html")
    assert not tab.errors
