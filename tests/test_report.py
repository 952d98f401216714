"""The report: its data, its page, and what the page does in a real browser."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir.frontend.program import optimise
from brainir.frontend.tools.cli import main
from brainir.frontend.tools.report import render_page, report_data
from brainir.frontend.tools.report.page import embedded_json
from brainir.frontend.tools.residuals import residuals
from brainir.frontend.tools.scripts import run_script
from brainir.ir import walk
from brainir.passes import PASSES, sort_out_zeros

SCRIPT = """
import brainunit as u, jax, jax.numpy as jnp, brainir

V = brainir.HiddenState(jnp.zeros(4) * u.mV, name="V")
W = brainir.ParamState(jnp.ones((4, 4)) * 0.1, name="W")
HOSTILE = "</script><img src=x onerror=alert(1)><!--"

def step(x):
    V.value = V.value * 0.9 + (jnp.tanh(V.value / u.mV) @ W.value + x) * u.mV
    return V.value / u.mV

@brainir.transform.jit
def simulate(xs):
    return brainir.transform.for_loop(step, xs)

@brainir.transform.jit
def train(xs):  # </script><script>alert(2)</script>
    grads = brainir.transform.grad(lambda: simulate(xs).sum() ** 2, W)()
    W.value = W.value - 0.1 * grads
    return grads

@brainir.transform.jit
def long(x):
    for _ in range(700):
        x = jnp.sin(x) * x + 1.0
    return x

xs = jnp.ones((6, 4))
simulate(xs), train(xs), long(xs), train(xs), train(xs)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "<b>model & co.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def run(script):
    found = run_script(str(script), timed=True)
    assert found.error is None
    return found


@pytest.fixture(scope="module")
def programs(run):
    return run.programs


@pytest.fixture(scope="module")
def data(script, run):
    return report_data(str(script), run.programs, measure_xla=False, timings=run.timings)


@pytest.fixture(scope="module")
def page_file(script, data):
    path = script.with_name("report.html")
    path.write_text(render_page(data), encoding="utf-8")
    return path


# --- data -----------------------------------------------------------------------------------------


def function(data, name):
    return next(f for f in data["functions"] if f["name"] == name)


def last_graph(fn):
    return [stage for stage in fn["stages"] if "graph" in stage][-1]["graph"]


def test_every_function_is_there_at_every_stage(data):
    assert [fn["name"] for fn in data["functions"]] == ["simulate", "train", "long"]
    for fn in data["functions"]:
        assert [stage["name"] for stage in fn["stages"]][:1] == ["capture"]
        assert fn["stages"][-1]["name"] == "purify"
        assert not fn["problem"]


def test_states_tell_what_became_of_them(data):
    rows = {row["name"]: row for row in function(data, "simulate")["states"]}
    assert rows["V"]["carried"] == ["for_loop step"]
    assert rows["V"]["unit"] == "mV"
    assert (rows["V"]["read"], rows["V"]["written"]) == (3, 1)
    assert rows["W"]["hoisted"]
    assert not rows["W"]["carried"]


def test_the_track_of_a_state_goes_from_its_parameter_through_the_loop_to_its_result(data):
    fn = function(data, "simulate")
    graph = last_graph(fn)
    number = [row["name"] for row in fn["states"]].index("V")
    track = {
        (graph["items"][a]["k"], graph["items"][b]["k"])
        for a, b, _, s in graph["edges"]
        if s == number
    }
    assert {("param", "param"), ("op", "result")} <= track


def test_edges_and_regions_refer_to_what_is_there(data):
    for fn in data["functions"]:
        for stage in fn["stages"]:
            if "graph" not in stage:
                continue
            graph, text = stage["graph"], stage["text"]
            for start, end, _, _ in graph["edges"]:
                assert 0 <= start < len(graph["items"])
                assert 0 <= end < len(graph["items"])
            for item in graph["items"]:
                assert 0 <= item["r"] < len(graph["regions"])
                if "n" in item:
                    assert item["l"] in data["lines"][text[item["n"] - 1]]


def test_what_the_gradient_keeps_is_what_the_backward_loop_reads(data, programs):
    train = next(p for p in programs if p.graph.name == "train")
    graph = optimise(train)
    (forward, backward) = [node for node in walk(graph) if node.op.name == "for_loop"]
    found = residuals(graph)
    assert found
    assert {item.loop for item in found} == {forward}
    assert backward.attrs["reverse"]
    rows = function(data, "train")["residuals"]
    assert [row["bytes"] for row in rows] == [item.stacked.type.nbytes for item in found]
    assert not function(data, "simulate")["residuals"]


def test_the_page_tells_what_a_gradient_on_a_budget_computes_again(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("""
import brainir, jax.numpy as jnp
V = brainir.HiddenState(jnp.ones(8))

def step(x):
    V.value = jnp.tanh(V.value) * x
    return V.value

loss = lambda xs: brainir.transform.for_loop(step, xs).sum()
for memory in (None, 0.2):
    brainir.transform.jit(brainir.transform.grad(loss, memory=memory))(jnp.ones((100, 8)))
""")
    data = report_data(str(path), run_script(str(path)).programs, measure_xla=False)
    whole, grouped = (function["again"] for function in data["functions"])
    assert not whole
    (row,) = grouped
    assert row["groups"] * row["steps"] == 100
    assert row["bytes"] % (row["steps"] * 8 * 4) == 0


def test_the_page_tells_which_products_leave_loops_and_why(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("""
import brainir, jax, jax.numpy as jnp
V, weight = brainir.HiddenState(jnp.ones(64)), brainir.ParamState(jnp.ones((64, 64)))

def step(x):
    V.value = jnp.tanh(V.value) + x @ weight.value
    return V.value

def drive(x):
    V.value = jnp.tanh(V.value @ weight.value) + x

loss = lambda xs: brainir.transform.for_loop(step, xs).sum()
brainir.transform.jit(brainir.transform.grad(loss, weight))(jnp.ones((60, 64)))
brainir.transform.jit(lambda xs: brainir.transform.for_loop(drive, xs))(jnp.ones((60, 64)))
""")
    data = report_data(str(path), run_script(str(path)).programs, measure_xla=False)
    rows = [row for function in data["functions"] for row in function["split"]]
    found = [[row[what] for what in ("products", "sums", "block")] for row in rows]
    assert found == [[1, 0, 60], [0, 1, 60], [0, 0, 0]]
    assert rows[-1]["why"] == "no product gains by leaving it"


def test_the_report_tells_which_loops_are_kernels(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("""
import brainir, jax.numpy as jnp
decay = lambda v, x: (0.9 * v + x, v)
brainir.transform.jit(lambda xs: brainir.transform.scan(decay, jnp.zeros(4), xs))(jnp.ones((60, 4)))
brainir.transform.jit(lambda xs: brainir.transform.for_loop(jnp.sort, xs))(jnp.ones((60, 64)))
""")
    data = report_data(str(path), run_script(str(path)).programs, measure_xla=False)
    found = [(row["kernel"], row["why"]) for f in data["functions"] for row in f["kernels"]]
    assert found == [(True, ""), (False, "sort: it puts elements in order")]
    assert [len(f["code"]) for f in data["functions"]] == [1, 0]
    assert "define" in data["functions"][0]["code"][0]


def test_the_report_tells_of_kernels_inside_loops_that_are_none(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("""
import brainir, jax.numpy as jnp
v = brainir.State(jnp.ones(8))
def step(i): v.value = v.value * 0.9
loop = lambda: brainir.transform.for_loop(step, jnp.arange(1000), pbar=100)
brainir.transform.jit(loop)()
""")
    (fn,) = report_data(str(path), run_script(str(path)).programs, measure_xla=False)["functions"]
    found = [(row["kernel"], row["why"]) for row in fn["kernels"]]
    assert found == [(False, "for_loop: it talks to the host"), (True, "")]


def test_stages_that_look_the_same_may_have_other_nodes(tmp_path):
    script = tmp_path / "copied.py"
    script.write_text(
        "import brainir, jax.numpy as jnp\n"
        "def step(v, x):\n"
        "    v = jnp.sort(jnp.tanh(v * x))\n"  # no kernel
        "    return v, v\n"
        "def loss(w, xs):\n"
        "    return brainir.transform.scan(step, jnp.ones(128), xs @ w)[1].sum()\n"
        "train = brainir.transform.grad(loss)\n"
        "brainir.transform.jit(train, name='train')(jnp.ones((128, 128)), jnp.ones((900, 128)))\n"
    )
    run = run_script(str(script), timed=True)
    assert run.error is None
    graph = optimise(run.programs[0], until="outline-kernels")
    after = sort_out_zeros(graph)  # which looks at a large product, and leaves it
    assert str(after) == str(graph)
    assert not set(after.nodes) & set(graph.nodes)
    data = report_data(str(script), run.programs, measure_xla=False, timings=run.timings)
    fn = function(data, "train")
    assert fn["residuals"]
    assert any("item" in part for part in fn["timed"]["parts"])


def test_a_state_that_the_gradient_keeps_is_called_by_its_name(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("""
import brainir, jax.numpy as jnp
V = brainir.HiddenState(jnp.ones(4), name="V")

def step(x):
    V.value = V.value * V.value * x
    return V.value

loss = lambda xs: brainir.transform.for_loop(step, xs).sum()
brainir.transform.jit(brainir.transform.grad(loss))(jnp.ones((6, 4)))
""")
    (fn,) = report_data(str(path), run_script(str(path)).programs, measure_xla=False)["functions"]
    assert "@V: value at the start of the step" in [row["op"] for row in fn["residuals"]]


SIGNATURES = """
import brainir, jax.numpy as jnp

@brainir.transform.jit
def run(xs):
    return brainir.transform.for_loop(lambda x: brainir.transform.cond(x > 0, jnp.sin, f, x), xs)

def f(x):
    return jnp.exp(jnp.cos(x))

run(jnp.ones(5)), run(jnp.ones(7))
"""


@pytest.fixture(scope="module")
def two_signatures(tmp_path_factory):
    path = tmp_path_factory.mktemp("signatures") / "model.py"
    path.write_text(SIGNATURES)
    return report_data(str(path), run_script(str(path)).programs)


def test_functions_of_one_name_are_told_apart_by_what_they_take(two_signatures):
    titles = [fn["title"] for fn in two_signatures["functions"]]
    assert titles == ["run(f32[5])", "run(f32[7])"]


def test_boxes_count_as_the_statistics_do(two_signatures):
    for fn in two_signatures["functions"]:
        items = [item for item in last_graph(fn)["items"] if item["k"] == "op"]
        assert sum(i.get("f", 0) * i.get("x", 1) for i in items) == fn["costs"]["flops"]
        runs = {item["l"]: item["x"] for item in items if item["l"] in ("sin", "cos", "exp")}
        assert (runs["sin"], runs["cos"] == runs["exp"] > 1) == (0, True)


# --- page -----------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Collects the tags of a page, and what stands in its data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.json, self._inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = ("id", "data") in attrs

    def handle_data(self, data):
        if self._inside:
            self.json += data


@given(st.text())
def test_nothing_in_the_data_can_end_its_element(text):
    found = Elements(f'<script type="application/json" id="data">{embedded_json(text)}</script>')
    assert found.tags == ["script"]
    assert json.loads(found.json) == text


def test_hostile_names_and_source_stay_text(page_file, data):
    page = page_file.read_text(encoding="utf-8")
    found = Elements(page)
    assert "img" not in found.tags
    assert found.tags.count("script") == 5
    assert json.loads(found.json) == json.loads(json.dumps(data))
    assert re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page) is None


def test_the_page_carries_its_libraries_with_their_licences(page_file):
    page = page_file.read_text(encoding="utf-8")
    assert "Permission is hereby granted" in page
    assert page_file.stat().st_size < 2_000_000


def test_the_command_writes_a_page(script, tmp_path):
    output = tmp_path / "out.html"
    command = [sys.executable, "-m", "brainir", "report", str(script), "-o", str(output)]
    done = subprocess.run([*command, "--select", "simulate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    functions = json.loads(Elements(output.read_text(encoding="utf-8")).json)["functions"]
    assert [fn["name"] for fn in functions] == ["simulate"]
    assert functions[0]["xla"]["compile"] > 0


def test_the_data_tells_where_a_script_failed_that_compiled_nothing(tmp_path):
    (tmp_path / "halves_of_report.py").write_text("def half(x):\n    return x // 0\n")
    script, output = tmp_path / "model.py", tmp_path / "out.json"
    script.write_text("import halves_of_report, json\nhalves_of_report.half(json.loads('2'))\n")
    assert main(["report", str(script), "--format", "json", "-o", str(output)]) == 1
    data = json.loads(output.read_text())
    file, line, function = data["places"][data["failed"]]
    assert (data["files"][file]["path"], line) == (str(tmp_path / "halves_of_report.py"), 2)
    assert function == "half"
    assert data["files_of_script"] == [str(script), str(tmp_path / "halves_of_report.py")]
    script.write_text("x = 1\ny = = 2\n")
    main(["report", str(script), "--format", "json", "-o", str(output)])
    data = json.loads(output.read_text())
    assert data["places"][data["failed"]][1] == 2
    assert data["functions"] == []


def test_regions_of_one_node_have_their_own_names(tmp_path):
    script = tmp_path / "branches.py"
    script.write_text(
        "import brainir, jax.numpy as jnp\n"
        "f = lambda x: brainir.transform.cond(x > 0, lambda: x + 1, lambda: x * x)\n"
        "brainir.transform.jit(f)(2.0)\n"
    )
    data = report_data(str(script), run_script(str(script)).programs, measure_xla=False)
    regions = last_graph(data["functions"][0])["regions"]
    assert [region["l"] for region in regions[1:]] == ["branch 0", "branch 1"]


def test_a_function_that_no_pass_takes_is_shown_as_far_as_it_got(tmp_path):
    script = tmp_path / "unbounded.py"
    script.write_text(
        "import brainir\n"
        "loop = lambda x: brainir.transform.while_loop(lambda y: y < 9.0, lambda y: y * x, x)\n"
        "brainir.transform.jit(brainir.transform.grad(loop))(2.0)\n"
    )
    run = run_script(str(script))
    (fn,) = report_data(str(script), run.programs, run.error)["functions"]
    assert run.error is not None
    assert fn["problem"]
    assert fn["stages"][-1]["name"] != "purify"
    assert fn["xla"] is None


# --- browser --------------------------------------------------------------------------------------


@pytest.fixture
def page(browser, page_file):
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(60_000)
    problems, requests = [], []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(Path(page_file).as_uri())
    yield opened
    assert problems == []
    assert [url for url in requests if not url.startswith("file:")] == []
    opened.close()


def stage_name(page):
    return page.inner_text("#stage-name").split()[0]


def test_the_page_opens_at_the_last_stage_of_the_first_function(page, script):
    assert page.inner_text("#title") == script.name
    assert stage_name(page) == "purify"
    assert re.match(r"(\d+) of \1 boxes", page.inner_text("#drawn-count"))


def test_the_slider_goes_through_the_stages(page, data):
    names = [stage["name"] for stage in data["functions"][0]["stages"]]
    page.focus("#stage")
    page.keyboard.press("Home")
    seen = [stage_name(page)]
    for _ in names[1:]:
        page.keyboard.press("ArrowRight")
        seen.append(stage_name(page))
    assert seen == names


def test_the_diff_shows_both_sides_of_a_pass(page, data):
    page.click("#tab-diff")
    fn = data["functions"][0]
    number = [stage["name"] for stage in fn["stages"]].index("hoist-state")
    page.focus("#stage")
    page.keyboard.press("Home")
    for _ in range(number):
        page.keyboard.press("ArrowRight")
    blocks = fn["stages"][number]["diff"]
    gone = sum(j - i for tag, i, j, _, _ in blocks if tag in ("delete", "replace"))
    come = sum(m - k for tag, _, _, k, m in blocks if tag in ("insert", "replace"))
    assert gone > 0
    assert page.locator("#diff .removed").count() == gone
    assert page.locator("#diff .added").count() == come


def test_search_selects_what_it_finds_and_marks_its_source_line(page):
    page.keyboard.press("/")
    page.keyboard.type("tanh")
    assert page.inner_text("#found") == "1 of 1"
    assert page.inner_text("#details h2") == "tanh"
    assert "jnp.tanh" in page.inner_text("#source .chosen")
    page.keyboard.press("Escape")
    assert page.input_value("#query") == page.inner_text("#found") == ""


def test_a_click_on_a_box_leads_to_its_source_line(page):
    box = page.locator("#canvas").bounding_box()
    page.click("#fit")
    x, y = page.evaluate(
        """() => { const { cy } = document.querySelector("#canvas")._cyreg;
        const at = cy.nodes().filter(n => n.data("label") === "tanh").renderedPosition();
        return [at.x, at.y]; }"""
    )
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.wait_for_selector("#source .chosen")
    assert page.inner_text("#details h2") == "tanh"
    assert "jnp.tanh" in page.inner_text("#source .chosen")


def test_a_click_on_a_source_line_selects_its_nodes(page):
    page.locator("#source .made", has_text="jnp.tanh").click()
    found = re.match(r"(\d+) on line (\d+)", page.inner_text("#found"))
    assert found
    assert int(found[1]) > 1
    assert page.inner_text("#source .chosen") in SCRIPT
    assert page.inner_text("#details h2")


def test_a_line_of_the_diff_leads_to_its_node(page):
    page.click("#tab-diff")
    page.locator("#diff .node", has_text="tanh").last.click()
    assert page.inner_text("#details h2") == "tanh"
    page.click("#tab-graph")
    assert page.inner_text("#details h2") == "tanh"


def test_regions_open_and_close(page):
    whole = page.inner_text("#drawn-count")
    page.click("#close-all")
    closed = page.inner_text("#drawn-count")
    assert closed != whole
    page.keyboard.press("/")
    page.keyboard.type("kernel")
    page.focus("#canvas")
    page.keyboard.press("Enter")
    assert page.inner_text("#drawn-count") != closed
    page.keyboard.press("Enter")
    assert page.inner_text("#drawn-count") == closed
    page.click("#open-all")
    assert page.inner_text("#drawn-count") == whole


def test_the_keyboard_goes_along_edges(page):
    page.keyboard.press("/")
    page.keyboard.type("tanh")
    page.focus("#canvas")
    page.keyboard.press("ArrowDown")
    below = page.inner_text("#details h2")
    assert below != "tanh"
    page.keyboard.press("ArrowUp")
    assert page.inner_text("#details h2") == "tanh"


def test_tables_show_states_costs_memory_and_time(page):
    page.select_option("#function", label=page.locator("#function option").nth(1).inner_text())
    page.click("#tab-states")
    assert "hoisted out of its loops" in page.inner_text("#view-states")
    page.click("#tab-cost")
    assert "dot_general" in page.inner_text("#view-cost tbody tr:first-child")
    shares = re.findall(r"([\d.]+) %", page.inner_text("#view-cost tbody"))
    assert sum(map(float, shares)) == pytest.approx(100, abs=1)
    page.click("#tab-memory")
    page.locator("#view-memory tbody .link").first.click()
    assert page.inner_text("#details h2")
    page.click("#tab-time")
    assert page.locator("#view-time table").last.locator("tbody tr").count() == len(PASSES)


def test_the_time_of_a_loop_leads_to_its_box(page):
    page.select_option("#function", label=page.locator("#function option").nth(1).inner_text())
    page.click("#tab-time")
    assert "each later call" in page.locator("#view-time table").nth(0).inner_text()
    link = page.locator("#view-time table").nth(1).locator(".link").first
    title = link.inner_text()
    link.click()
    assert page.inner_text("#details h2").startswith(title.split()[0])
    assert "when the script ran it" in page.inner_text("#details")
    page.select_option("#shade", "m")
    page.click("#tab-memory")
    page.click("#tab-graph")
    assert page.inner_text("#details h2").startswith(title.split()[0])


def test_a_reload_shows_the_same(page):
    page.keyboard.press("[")
    page.keyboard.press("2")
    name = stage_name(page)
    page.reload()
    assert stage_name(page) == name
    assert page.locator("#view-diff").is_visible()


def test_both_themes_have_their_own_colours(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    first = paper()
    page.click("#theme")
    assert paper() != first


def test_a_graph_of_two_thousand_nodes_is_drawn_and_searched(page):
    page.select_option("#function", index=2)
    assert page.inner_text("#drawn-count").startswith("2,102 of")
    assert int(page.get_attribute("#canvas", "data-milliseconds")) < 10_000
    page.keyboard.press("/")
    page.keyboard.type("sin")
    assert page.inner_text("#found") == "1 of 700"
    page.keyboard.press("Shift+Enter")
    assert page.inner_text("#found") == "700 of 700"
    page.check("#near")
    assert int(page.inner_text("#drawn-count").split()[0]) < 30


def test_the_page_says_how_xla_counts(browser, two_signatures, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_page(two_signatures), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.click("#tab-cost")
    assert "with every loop as if it ran once" in page.inner_text("#view-cost")
    page.close()


def test_the_source_stays_in_sight_on_a_small_screen(page):
    page.set_viewport_size({"width": 800, "height": 600})
    page.select_option("#function", index=2)
    for tab in ("graph", "diff", "states", "cost", "memory", "time"):
        page.click(f"#tab-{tab}")
        box = page.locator("#source").bounding_box()
        assert box["y"] + 60 < 600, tab
