"""What ties the ranks of a job, as drawings and the page show it."""

import re
from typing import Any

import pytest
from recorder_exporters.drawing.styles import STYLES
from support.browser import Show, item, still
from support.linked import linked

import recorder
from recorder import collapse
from recorder.testing import chain

OPEN: dict[str, Any] = {"depth": None, "fold": False}


def lines(text: str) -> list[tuple[str, str, bool]]:
    """The lines between ranks in a text in DOT: their ends, and whether they have a direction."""
    edges = re.findall(r"^\s*(n\d+) -> (n\d+) +\[(.*style=dotted.*)\];$", text, re.MULTILINE)
    for _, _, attributes in edges:
        assert f'color="{STYLES["link"].line}"' in attributes
        assert "constraint=false" in attributes
    return [(tail, head, "dir=none" not in attributes) for tail, head, attributes in edges]


def test_dot_has_a_line_for_each_pair() -> None:
    text = str(recorder.export(linked(2), "dot", **OPEN))
    assert lines(text) == [("n0", "n3", False), ("n1", "n4", False), ("n2", "n5", True)]
    assert STYLES["link"].meaning in text
    assert "all_reduce ×" not in text


def test_dot_counts_those_between_closed_ranks() -> None:
    text = str(recorder.export(collapse(linked(3), 0), "dot", **OPEN))
    assert lines(text) == [("n0", "n1", False), ("n0", "n1", True)]
    assert "all_reduce ×3" in text


def test_a_graph_without_links_has_no_word_of_them() -> None:
    for name in ("dot", "mermaid"):
        text = str(recorder.export(chain(3), name))
        assert STYLES["link"].line not in text
        assert "linkStyle" not in text


def test_mermaid_colours_the_lines_that_are_links() -> None:
    text = str(recorder.export(linked(2), "mermaid", **OPEN)).splitlines()
    drawn = [line.strip() for line in text if "-.-" in line or "-->" in line]
    assert len(drawn) == 3
    assert [line for line in text if "linkStyle" in line] == [f"  linkStyle 0,1,2 stroke:{STYLES['link'].line}"]


@pytest.mark.slow
def test_the_page_draws_links_between_what_shows(show: Show) -> None:
    with show(linked(3), depth=1) as page:
        assert page.locator(".link").count() == 4
        assert page.locator(".link .head").count() == 1
        assert STYLES["link"].meaning in page.locator("#legend").inner_text()
        item(page, "rank 0.all_reduce_1").click()
        told = page.locator("#panel").inner_text()
        assert "Issued together with" in told
        assert "all_reduce 1 of group world, ranks 0, 1" in told
        page.locator("#panel .link", has_text="rank 1.all_reduce_1").click()
        still(page)
        assert page.evaluate("viewer.picked.name") == "rank 1.all_reduce_1"
        page.evaluate("viewer.setOpen(viewer.model.scopes, false)")
        still(page)
        titles = page.locator("g.link title").all_text_contents()
        assert titles == ["all_reduce × 3", "send"]
        assert "<path" in page.evaluate("viewer.picture()")


@pytest.mark.slow
def test_the_page_of_a_graph_without_links(show: Show) -> None:
    with show(chain(3)) as page:
        assert page.locator("g.link").count() == 0
        assert STYLES["link"].meaning not in page.locator("#legend").inner_text()
