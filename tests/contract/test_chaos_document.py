"""The document of the chaos days lists every family and kind with the checks they serve."""

from __future__ import annotations

from infra.chaos.kinds import families
from infra.local.home import ROOT

DOCUMENT = ROOT / "infra" / "docs" / "chaos.md"


def test_the_document_lists_every_kind_of_fault_with_its_checks() -> None:
    text = DOCUMENT.read_text("utf-8")
    table = text.partition("<!-- families: begin -->\n")[2].partition("<!-- families: end -->")[0]
    assert table == families()
