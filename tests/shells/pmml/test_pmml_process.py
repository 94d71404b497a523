"""The process with a Java machine in it: how it ends, what it leaves behind, and what it does without memory."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from pmml_documents import REGRESSION, TREE
from pmml_server import last_words, needs_java, placed, process, serving
from waiting_rig import until_blocking

pytestmark = [needs_java, pytest.mark.timeout(300)]


def children_of(pid: int) -> list[str]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for file in found for child in file.read_text().split()]


def predicted(base: str, row: list[object]) -> object:
    body = json.dumps({"instances": [row]}).encode()
    with urllib.request.urlopen(base + "/v1/models/m:predict", body, timeout=30) as response:
        return json.loads(response.read())["predictions"][0]


def test_sigterm_ends_it_cleanly_and_it_has_no_children(tmp_path: Path) -> None:
    folder, log = placed(tmp_path / "m", TREE), tmp_path / "log"
    with serving(folder, log) as (base, running):
        assert predicted(base, [500, 20, "Rome"])
        assert children_of(running.pid) == []
        before = set(tmp_path.iterdir())
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert set(tmp_path.iterdir()) == before
    assert b"draining" in log.read_bytes() and b"hs_err" not in log.read_bytes()


def test_kill_leaves_no_java_behind(tmp_path: Path) -> None:
    """Every process whose environment has this test's mark is looked for, whoever its parent is by then."""
    mark = f"pmml-{os.getpid()}-{tmp_path.name}"
    folder, log = placed(tmp_path / "m", TREE), tmp_path / "log"
    with process(folder, log, WAKEFUL_TEST_MARK=mark) as running:
        until_blocking(lambda: b'"event": "serving"' in log.read_bytes(), 60, "the server")
        assert marked(mark) == {running.pid}
        running.kill()
        running.wait(10)
        until_blocking(lambda: not marked(mark), 10, lambda: f"{marked(mark)} to end")


def marked(mark: str) -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def forest(trees: int) -> str:
    """A document that takes Java some memory: a sum of ``trees`` regressions of one field."""
    one = (
        '<Segment id="{}"><True/><RegressionModel functionName="regression"><MiningSchema><MiningField name="area"/>'
        '</MiningSchema><RegressionTable intercept="0.25"><NumericPredictor name="area" coefficient="2.{}"/></RegressionTable>'
        "</RegressionModel></Segment>"
    )
    schema = '<MiningSchema><MiningField name="price" usageType="target"/><MiningField name="area"/></MiningSchema>'
    segments = "".join(one.format(place, place) for place in range(1, trees + 1))
    model = (
        f'<MiningModel functionName="regression">{schema}<Segmentation multipleModelMethod="sum">{segments}</Segmentation>'
        "</MiningModel>"
    )
    return REGRESSION[: REGRESSION.index("<RegressionModel")] + model + "</PMML>"


def test_a_document_that_is_too_large_for_the_heap_is_told(tmp_path: Path) -> None:
    folder = placed(tmp_path / "m", forest(60000))
    words = last_words(folder, tmp_path / "log", "--max_heap_mb=12")
    assert "model.pmml needs more than --max_heap_mb=12 of memory in Java" in words


def test_a_request_that_is_too_large_for_the_heap_is_503_and_the_server_goes_on(tmp_path: Path) -> None:
    with serving(placed(tmp_path / "m", TREE), tmp_path / "log", "--max_heap_mb=24") as (base, _):
        with pytest.raises(urllib.error.HTTPError) as caught:
            predicted(base, [500, 20, "x" * 40_000_000])
        assert caught.value.code == 503
        with caught.value as answer:
            assert b"Java heap space (--max_heap_mb=24); ask for fewer or smaller rows" in answer.read()
        assert predicted(base, [500, 20, "Rome"])


def test_too_little_heap_is_told(tmp_path: Path) -> None:
    words = last_words(placed(tmp_path / "m", TREE), tmp_path / "log", "--max_heap_mb=3")
    assert words == "--max_heap_mb=3 is less than the 8 that Java needs to start"


def test_where_java_ends_the_process_the_termination_message_says_why(tmp_path: Path) -> None:
    folder, said = placed(tmp_path / "m", TREE), tmp_path / "termination"
    said.touch()
    with process(
        folder, tmp_path / "log", "--max_heap_mb=99999999", WAKEFUL_TERMINATION_LOG=str(said)
    ) as running:
        assert running.wait(60) == 1
    assert said.read_text() == "Java ended while it started: is there memory for --max_heap_mb=99999999?"


def test_a_deep_tree_is_computed(tmp_path: Path) -> None:
    """Java's own XML reader takes 100 elements in one another unless it is told otherwise."""
    node = '<Node id="{}" score="yes"><True/><ScoreDistribution value="yes" recordCount="3"/><ScoreDistribution value="no" recordCount="1"/>'
    start = TREE.index("<Node", TREE.index("<Node") + 5)
    text = (
        TREE[:start]
        + "".join(node.format(level) for level in range(450))
        + "</Node>" * 451
        + "</TreeModel></PMML>"
    )
    with serving(placed(tmp_path / "m", text), tmp_path / "log") as (base, _):
        answer = predicted(base, [500, 20, "Rome"])
    assert isinstance(answer, dict) and (answer["node"], answer["p_yes"]) == ("449", 0.75)
