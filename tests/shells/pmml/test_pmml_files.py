"""What a PMML file may not be or do: each ends in one sentence, before or inside Java, and nothing is fetched or run."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from pmml_documents import CLUSTERS, REGRESSION, TREE
from pmml_server import last_words, needs_java, placed

from runtimes.pmml import document, places
from wakeful.serving.model import LoadError

pytestmark = pytest.mark.timeout(300)


def refused(folder: Path, text: str | bytes) -> str:
    path = folder / "model.pmml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LoadError) as caught:
        document.check(path)
    return str(caught.value)


def with_doctype(declarations: str) -> str:
    return TREE.replace("<PMML", f"<!DOCTYPE PMML [{declarations}]>\n<PMML", 1).replace("by hand", "&a;")


@pytest.mark.parametrize(
    "declarations",
    [
        '<!ENTITY a SYSTEM "file:///etc/hostname">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1:9/a.dtd"> %a;',
        '<!ENTITY b "ha"><!ENTITY a "&b;&b;">',
        "",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_a_doctype_is_refused_in_any_encoding(tmp_path: Path, declarations: str, encoding: str) -> None:
    text = with_doctype(declarations).replace("UTF-8", encoding)
    assert refused(tmp_path, text.encode(encoding)) == (
        "model.pmml, line 2, has a DOCTYPE, which can name other files: take the line out"
    )


@pytest.mark.parametrize(
    "name", ["java.lang.Runtime.exec", "org.jpmml.evaluator.functions.ConcatFunction", "a.b"]
)
def test_a_function_that_is_a_java_class_is_refused(tmp_path: Path, name: str) -> None:
    words = refused(tmp_path, TREE.replace('function="*"', f'function="{name}"'))
    assert re.match(
        rf"model\.pmml, line \d+, calls the function '{re.escape(name)}', which the document does not define",
        words,
    )
    assert "runs no code here" in words


def test_a_function_with_dots_that_the_document_defines_is_its_own(tmp_path: Path) -> None:
    defined = (
        '<TransformationDictionary><DefineFunction name="my.log" optype="continuous"><ParameterField name="a"/>'
        '<Apply function="ln"><FieldRef field="a"/></Apply></DefineFunction>'
    )
    text = REGRESSION.replace("<TransformationDictionary>", defined).replace(
        '<Apply function="ln"><FieldRef field="area"', '<Apply function="my.log"><FieldRef field="area"'
    )
    (tmp_path / "model.pmml").write_text(text)
    assert "my.log" in text and set(document.check(tmp_path / "model.pmml")) == {"ln"}


def test_what_others_write_into_extensions_is_not_looked_at(tmp_path: Path) -> None:
    extension = '<Header><Extension name="x"><Apply function="java.lang.Thread"/></Extension></Header>'
    (tmp_path / "model.pmml").write_text(REGRESSION.replace("<Header/>", extension))
    assert set(document.check(tmp_path / "model.pmml")) == {"ln"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no well-formed XML: no element found"),
        (TREE[:900], "is no well-formed XML"),
        ("{}", "is no well-formed XML"),
        ("<html/>", "is no PMML: its outermost element is 'html'"),
        (
            "<PMML>" + "<a>" * 600 + "</a>" * 600 + "</PMML>",
            "line 1, has more than 500 elements in one another",
        ),
        ('<?xml version="1.0" encoding="x-none"?><PMML/>', "unknown encoding"),
    ],
)
def test_no_pmml_at_all(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_without_the_environment_a_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"neither in this Python nor in .*: hack/env pmml makes"):
        places.reach({"WAKEFUL_PMML_ENV": str(tmp_path)})


@needs_java
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary/></PMML>',
            "JPMML cannot compute model.pmml: ",
        ),
        (
            TREE.replace('function="*"', 'function="median"'),
            "calls the function 'median', which JPMML does not have",
        ),
        (
            CLUSTERS.replace(
                'name="yr" optype="continuous" dataType="integer"',
                'name="yr" optype="continuous" dataType="dateDaysSince[1960]"',
            ),
            "the result 'yr' of model.pmml is a dateDaysSince[1960], which this server cannot carry",
        ),
    ],
    ids=["no model", "unknown function", "days since a year as result"],
)
def test_what_jpmml_cannot_compute_ends_the_start(tmp_path: Path, text: str, words: str) -> None:
    assert words in last_words(placed(tmp_path / "m", text), tmp_path / "log")


@needs_java
def test_a_document_whose_own_examples_fail_is_refused(tmp_path: Path) -> None:
    example = (
        '<ModelVerification recordCount="1"><VerificationFields><VerificationField field="area" column="area"/>'
        '<VerificationField field="floor" column="floor"/><VerificationField field="kind" column="kind"/>'
        '<VerificationField field="price" column="price"/></VerificationFields><InlineTable><row><area>1</area>'
        "<floor>2</floor><kind>flat</kind><price>99</price></row></InlineTable></ModelVerification></RegressionModel>"
    )
    words = last_words(
        placed(tmp_path / "m", REGRESSION.replace("</RegressionModel>", example)), tmp_path / "log"
    )
    assert "JPMML cannot compute model.pmml" in words and "99" in words


@needs_java
def test_a_schema_at_an_address_is_not_fetched(tmp_path: Path) -> None:
    """The document names a place for its schema; nobody connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"http://127.0.0.1:{listener.getsockname()[1]}/pmml.xsd"
        text = REGRESSION.replace(
            "<PMML ",
            f'<PMML xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.dmg.org/PMML-4_3 {place}" ',
        ).replace("</RegressionModel>", "</RegressionModel><broken")
        assert "is no well-formed XML" in refused(tmp_path, text)
        whole = text.replace("<broken", "").replace('function="ln"', 'function="median"')
        assert "median" in last_words(placed(tmp_path / "m", whole), tmp_path / "log")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
