import pytest

from muster_operator.metrics_api.selector import SelectorError, parse_selector

LABELS = {"proverpool": "demo", "tier": "gold"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("proverpool=demo", True),
        ("proverpool==demo", True),
        ("proverpool=other", False),
        ("proverpool!=demo", False),
        ("proverpool!=other", True),
        ("absent!=x", True),
        ("proverpool in (demo,other)", True),
        ("proverpool in (other)", False),
        ("proverpool notin (other, more)", True),
        ("proverpool notin (demo)", False),
        ("absent notin (demo)", True),
        ("proverpool", True),
        ("absent", False),
        ("!absent", True),
        ("!proverpool", False),
        ("proverpool in (demo,other),tier=gold", True),
        ("proverpool=demo,tier=silver", False),
    ],
)
def test_a_selector_selects_as_kubernetes_does(text: str, matches: bool) -> None:
    assert parse_selector(text)(LABELS) is matches


@pytest.mark.parametrize("text", ["=demo", "proverpool in demo", "a b", "a=(b)", ",", "a,,b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="is no label selector; write proverpool=NAME"):
        parse_selector(text)
