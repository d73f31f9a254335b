"""The palette's law on small pages of the test's own: each way to break it is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.door import palette

ROOT = Path(__file__).resolve().parents[3]
TOKENS = (ROOT / "infra/page" / palette.TOKENS).read_text("utf-8")


def page(folder: Path, tokens: str = TOKENS, **files: str) -> Path:
    """A page of these files beside ``tokens.css``; underscores of a name stand for its last dot."""
    for name, text in {"tokens_css": tokens, **files}.items():
        path = folder / "src/styles" / ".".join(name.rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_palette_of_the_page_holds(tmp_path: Path) -> None:
    assert palette.problems(ROOT / "infra/page") == []
    assert palette.problems(page(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a { color: #fff }", "#fff"),
        ("a { background: rgb(1 2 3) }", "rgb("),
        ("a { border: 1px solid hsl(1 2% 3%) }", "hsl("),
        ("a { border: 1px solid rebeccapurple }", "rebeccapurple"),
        ("a { fill: color-mix(in srgb, var(--tt-text), var(--tt-fill)) }", "color-mix("),
    ],
)
def test_a_colour_outside_the_table_is_named_with_its_file(tmp_path: Path, text: str, word: str) -> None:
    assert palette.problems(page(tmp_path, base_css=text)) == [f"src/styles/base.css: {word} belongs into src/styles/tokens.css"]


def test_a_colour_in_a_script_is_found_and_words_of_prose_are_not(tmp_path: Path) -> None:
    found = palette.problems(
        page(tmp_path, a_ts='const line = "red"; // "order" is red', b_css="/* red */ .red { color: var(--tt-text) }")
    )
    assert found == ["src/styles/a.ts: red belongs into src/styles/tokens.css"]


def test_a_pair_that_cannot_be_told_apart_is_named_with_its_theme_and_ratio(tmp_path: Path) -> None:
    found = palette.problems(page(tmp_path, TOKENS.replace("--tt-text-muted: #45556a", "--tt-text-muted: #a0a0a0")))
    assert any("light: --tt-text-muted on --tt-bg-surface is 2.61:1, below 4.5:1" in line for line in found)
    assert not any("dark" in line for line in found)


def test_a_border_is_held_to_the_ground_of_what_is_hovered_and_chosen_too(tmp_path: Path) -> None:
    found = palette.problems(page(tmp_path, TOKENS.replace("--tt-border-strong: #74859a", "--tt-border-strong: #75869a")))
    assert found == ["src/styles/tokens.css: light: --tt-border-strong on --tt-bg-hover is 2.99:1, below 3.0:1"]


def test_a_variable_without_its_light_value_is_named(tmp_path: Path) -> None:
    found = palette.problems(page(tmp_path, TOKENS.replace("--tt-info: #0b5cad;", "")))
    assert "src/styles/tokens.css: --tt-info has no light value" in found


def test_contrast_is_counted_as_the_guidelines_do() -> None:
    assert round(palette.contrast("#000000", "#ffffff"), 2) == 21
    assert round(palette.contrast("#777777", "#ffffff"), 2) == 4.48
