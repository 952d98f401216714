"""`brainir explore`: a page that follows a script, for a browser on this machine alone."""

from __future__ import annotations

import functools
import http.client
import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from brainir.frontend.tools.cli import parse_arguments
from brainir.frontend.tools.explore import Follower, Server
from brainir.frontend.tools.explore.command import report_command

SCRIPT = """
import brainir, jax.numpy as jnp
import helper

@brainir.transform.jit
def simulate(xs):
    return brainir.transform.for_loop(lambda x: jnp.tanh(x) * helper.SCALE, xs)

simulate(jnp.ones(3))
"""

RUN = """
import json, pathlib, sys
script, output = sys.argv[1:]
text = pathlib.Path(script).read_text()
if text == "crash":
    sys.exit(3)
found = {"functions": text.split(), "error": None, "failed": -1, "places": [], "files": []}
found["files_of_script"] = [script, str(pathlib.Path(script).with_name("helper.py"))]
pathlib.Path(output).write_text(json.dumps(found))
"""
"""Writes data as the report does, without the work: the words of a file are its functions."""


@pytest.fixture
def started():
    """Return a function that lets a follower follow until the test has ended."""
    followers = []

    def start(script, command):
        follower = Follower(str(script), command)
        thread = threading.Thread(target=follower.follow)
        thread.start()
        followers.append((follower, thread))
        return follower

    yield start
    for follower, thread in followers:
        follower.end()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def words(tmp_path, started):
    """Return a script that is a list of words, and its follower."""
    script = tmp_path / "model.py"
    script.write_text("one")
    return script, started(script, lambda output: [sys.executable, "-c", RUN, str(script), output])


def until(follower, condition):
    """Wait until what there is to see is so."""
    seen, end = follower.seen, time.monotonic() + 60
    while not condition(seen):
        assert time.monotonic() < end
        seen = follower.wait(seen, 1)
    return seen


def shows(*functions):
    return lambda seen: seen.data["functions"] == list(functions) and not seen.running


def test_a_script_runs_again_when_it_changes_and_not_otherwise(words):
    script, follower = words
    first = until(follower, shows("one"))
    assert first.number == 1
    assert follower.wait(first, 0.5) is first
    script.write_text("two words")
    assert until(follower, shows("two", "words")).number == 2


def test_a_script_runs_again_when_a_module_beside_it_appears_or_goes(words):
    script, follower = words
    until(follower, shows("one"))
    for number in (2, 3):
        helper = script.with_name("helper.py")
        helper.unlink() if helper.exists() else helper.touch()
        until(follower, lambda seen, number=number: seen.number == number)


SLOW = """
import pathlib, sys, time
script = pathlib.Path(sys.argv[1])
if script.read_text() == "slow":
    script.with_name("started").touch()
    time.sleep(100)
"""


def test_a_script_that_changes_while_it_runs_is_run_anew(tmp_path, started):
    script = tmp_path / "model.py"
    script.write_text("slow")
    code = SLOW + RUN
    follower = started(script, lambda output: [sys.executable, "-c", code, str(script), output])
    until(follower, lambda seen: (tmp_path / "started").exists())
    script.write_text("quick")
    until(follower, shows("quick"))


def test_what_was_compiled_last_stays_when_a_run_compiles_nothing(words):
    script, follower = words
    until(follower, shows("one"))
    for text, error in (("crash", "exit code 3"), (" ", "compiled nothing")):
        script.write_text(text)
        seen = until(follower, lambda seen, error=error: error in seen.error)
        assert (seen.data["functions"], seen.number) == (["one"], 1)
    script.write_text("two")
    assert until(follower, shows("two")).error == ""


def test_a_script_that_is_gone_is_waited_for(words):
    script, follower = words
    until(follower, shows("one"))
    script.unlink()
    time.sleep(0.5)
    script.write_text("again")
    until(follower, shows("again"))


def test_the_script_gets_all_that_was_asked_for():
    given = ["--select", "f*", "-O", "simplify{x=1}", "--as", "brainstate", "--leave-out=cse"]
    options = parse_arguments(["explore", "model.py", *given, "--", "--steps", "3"])
    command = report_command(options, "out.json")
    again = parse_arguments(command[command.index("report") :])
    for name in ("script", "select", "option", "leave_out", "backend", "library", "arguments"):
        assert getattr(again, name) == getattr(options, name)
    assert (again.output, again.format, again.xla) == ("out.json", "json", False)


# --- server ---------------------------------------------------------------------------------------


@pytest.fixture
def serve():
    """Return a function that serves what a follower sees until the test has ended."""
    servers = []

    def start(follower):
        server = Server(follower)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(server, path, host=None):
    connection = http.client.HTTPConnection(*server.server_address, timeout=30)
    connection.request("GET", path, headers={"Host": host or server.hosts[0]})
    return connection.getresponse()


def test_only_who_knows_the_word_and_the_name_gets_the_page(words, serve):
    server = serve(words[1])
    assert server.server_address[0] == "127.0.0.1"
    path = f"/{server.word}/"
    page = ask(server, path)
    assert page.status == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert ask(server, path, server.hosts[1]).status == 200
    for other in ("/", "", "/wrong/", f"/{server.word[:-1]}/", f"/{server.word}x/", "/%C3%A9/"):
        refused = ask(server, other)
        assert refused.status == 403
        assert server.word not in refused.read().decode()
    for name in ("evil.example", f"evil.example:{server.server_address[1]}", "127.0.0.1:1", "x"):
        assert ask(server, path, name).status == 421
        assert ask(server, f"{path}events", name).status == 421
    for missing in (f"/{server.word}", f"{path}report.json", f"{path}../x", f"{path}/"):
        assert ask(server, missing).status == 404


def test_words_are_never_the_same(words):
    with Server(words[1]) as one, Server(words[1]) as other:
        assert one.word != other.word
        assert len(one.word) >= 32
        with pytest.raises(OSError, match="in use"):
            Server(words[1], one.server_address[1])


def test_events_tell_of_each_change(words, serve):
    script, follower = words
    until(follower, shows("one"))
    server = serve(follower)
    events = ask(server, f"/{server.word}/events")
    assert events.headers["Content-Type"] == "text/event-stream"

    def next_event():
        line = events.readline()
        while not line.startswith(b"data: "):
            line = events.readline()
        return json.loads(line[6:])

    assert next_event()["number"] == 1
    script.write_text("two")
    assert next_event()["running"]
    assert next_event() == {"number": 2, "running": False, "error": "", "place": None, "lines": []}


def test_a_port_that_is_taken_and_a_script_that_is_not_there_are_told(tmp_path, capfd):
    from brainir.frontend.tools.cli import main

    assert main(["explore", str(tmp_path / "no.py")]) == 2
    script = tmp_path / "model.py"
    script.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["explore", str(script), "--port", str(taken.getsockname()[1])]) == 2
    assert "in use" in capfd.readouterr().err


# --- browser --------------------------------------------------------------------------------------


def test_a_browser_follows_what_is_edited(tmp_path, started, serve, browser):
    script = tmp_path / "model.py"
    script.write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("SCALE = 2.0\n")
    options = parse_arguments(["explore", str(script)])
    server = serve(started(script, functools.partial(report_command, options)))
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(server.address)

    page.locator("#text .node", has_text="tanh").click()
    assert page.inner_text("#details h2") == "tanh"
    assert "jnp.tanh" in page.inner_text("#source .chosen")
    page.click("#earlier")
    stage = page.inner_text("#stage-name").split()[0]
    (tmp_path / "helper.py").write_text("SCALE = 3.0\n")
    page.locator("#text .node", has_text="3.0").wait_for()
    assert page.inner_text("#stage-name").split()[0] == stage

    script.write_text(SCRIPT.replace("xs):", "xs:"))
    page.locator("#live.failed", has_text="model.py:6").wait_for()
    assert "> 6  def simulate(xs:" in page.inner_text("#live")
    assert page.locator("#text .node", has_text="3.0").count()

    script.write_text(f"{SCRIPT}\nprint(1 / 0)\n")
    page.locator("#problem", has_text="ZeroDivisionError").wait_for()
    assert page.inner_text("#source .chosen") == "print(1 / 0)"
    assert problems == []
    assert {Path(url).parts[1] for url in requests} == {server.hosts[0]}
    page.close()
