"""Names of views are checked to the letter when they are configured, and quoted where they are used."""

from __future__ import annotations

import pytest

from fillbook.snapshot.source import QUERIES, ViewNames


@pytest.mark.parametrize(
    "name",
    ["a.b; drop table x", "(select 1)", "a.b.c", '"A".b', "", "a", ".b", "a.", "A.b", "a.b ", "a.b\n", "1a.b", f"a.{'b' * 64}"],
)
@pytest.mark.parametrize("which", ["kpi", "series", "extremes", "portfolio"])
def test_scenario_11_a_name_that_is_not_just_a_view_is_refused(which: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"schema\.view"):
        ViewNames(**{which: name})


def test_a_configured_name_stands_quoted_in_its_statement_and_nowhere_else() -> None:
    names = ViewNames(kpi="elsewhere.select", portfolio="_x.y_1")
    asked = names.put_into(QUERIES["read_kpis"])
    assert 'from "elsewhere"."select" v' in asked.text
    assert "views." not in asked.text
    assert asked.parameters == ("day",)
    assert 'from "_x"."y_1" v' in names.put_into(QUERIES["read_portfolio"]).text


def test_only_our_own_four_views_have_companions() -> None:
    assert len(ViewNames().required) == 6
    assert ViewNames().is_ours
    foreign = ViewNames(series="other.series")
    assert not foreign.is_ours
    assert [name for name, _ in foreign.required][1] == "other.series"
    assert len(foreign.required) == 4
