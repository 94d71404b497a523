"""``child_name``: concatenation, both shortened forms, validity and difference."""

from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.api.knative_serving_names import child_name, revision_name


def test_short_names_are_concatenated() -> None:
    assert revision_name("svc", 7) == "svc-00007"
    assert child_name("a" * 57, "-00001") == "a" * 57 + "-00001"


def test_long_parent_gets_an_md5() -> None:
    name = child_name("a" * 58, "-00001")
    assert name.startswith("a" * 25) and name.endswith("-00001") and len(name) == 63


def test_long_suffix_is_hashed_too() -> None:
    name = child_name("short", "-" + "s" * 70)
    assert len(name) == 63 and name.startswith("short")
    assert child_name("p", "-" * 80).isalnum()


labels = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(labels, labels)
def test_different_parents_differ(one: str, other: str) -> None:
    names = {revision_name(one, 3), revision_name(other, 3)}
    assert len(names) == (1 if one == other else 2)
    assert all(len(name) <= 63 and name[-1].isalnum() for name in names)
