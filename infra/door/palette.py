"""The palette's law: colours have their names in ``tokens.css`` alone, and every pair that meets on the screen can be told apart.

Contrast is counted as WCAG 2 does it: 4.5:1 for text on its grounds, 3:1 for controls, bars and the focus ring. Both themes name
the same variables. Standard library only; it reads files and says what is wrong with them (tracker.md 9).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

TOKENS = "src/styles/tokens.css"
ICON = "src/icon.svg"  # a picture beside the document reads no variable: it may repeat a colour of the table
KINDS = (".css", ".ts", ".tsx", ".html", ".svg")
TEXT_RATIO, CONTROL_RATIO = 4.5, 3.0
DARK, LIGHT = ":root", ':root[data-theme="light"]'

GROUNDS = ("bg-base", "bg-surface", "bg-elevated", "bg-hover")
DIMS = ("accent-dim", "negative-dim", "warning-dim", "info-dim")
LANES = tuple(f"lane-{number}" for number in range(1, 9))

HEX = re.compile(r"#(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{6}|[0-9a-fA-F]{3,4})\b")
FUNCTION = re.compile(r"\b(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color|color-mix|light-dark)\(")
# CSS Color 4, without the words that no palette replaces: transparent, currentcolor and the system's own
NAMED = frozenset(
    "aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood"
    " cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod"
    " darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon"
    " darkseagreen darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray"
    " dimgrey dodgerblue firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green"
    " greenyellow grey honeydew hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon"
    " lightblue lightcoral lightcyan lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon"
    " lightseagreen lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime limegreen linen"
    " magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue"
    " mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy"
    " oldlace olive olivedrab orange orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip"
    " peachpuff peru pink plum powderblue purple rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown"
    " seagreen seashell sienna silver skyblue slateblue slategray slategrey snow springgreen steelblue tan teal"
    " thistle tomato turquoise violet wheat white whitesmoke yellow yellowgreen".split()
)
DECLARATION = re.compile(r"(?:^|[;{])\s*(?P<property>[\w-]+)\s*:\s*(?P<value>[^;{}]+)", re.MULTILINE)
QUOTED = re.compile(r"""(["'])(?P<word>[a-z]+)\1""")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FONTS = re.compile(r"\b(?:font-family\s*:|font\s*:)[^;}]*", re.IGNORECASE)


class Pair(NamedTuple):
    """Two variables that meet: what is in front, what lies behind, and how far apart they must be."""

    front: str
    ground: str
    ratio: float


def pairs() -> Iterator[Pair]:
    """Every pair of the table that meets on the screen."""
    for ground in GROUNDS:
        for front in ("text", "text-muted", "accent", "negative", "warning", "info"):
            yield Pair(front, ground, TEXT_RATIO)
        yield Pair("focus", ground, CONTROL_RATIO)
        for lane in LANES:
            yield Pair(lane, ground, CONTROL_RATIO)
        yield Pair("text-faint", ground, TEXT_RATIO)
        yield Pair("border-strong", ground, CONTROL_RATIO)
    for dim in DIMS:
        for front in ("text", "text-muted", dim.removesuffix("-dim")):
            yield Pair(front, dim, TEXT_RATIO)
    for day in ("accent-dim", "negative-dim"):  # cards of a day: results of either kind stand on either tint
        for front in ("accent", "negative"):
            yield Pair(front, day, TEXT_RATIO)
    yield Pair("on-accent", "accent", TEXT_RATIO)
    yield Pair("on-negative", "negative", TEXT_RATIO)
    yield Pair("fill", "track", CONTROL_RATIO)


def problems(folder: Path) -> list[str]:
    """What is wrong with the palette of the page in ``folder``, one line each; empty when it holds."""
    themes = read(folder / TOKENS)
    dark, light = themes[DARK], themes[LIGHT]
    colours = {name for name, value in dark.items() if HEX.fullmatch(value)}
    found = [f"{TOKENS}: --tt-{name} has no light value" for name in sorted(colours - light.keys())]
    found += [f"{TOKENS}: --tt-{name} is light only" for name in sorted(light.keys() - dark.keys())]
    for theme, values in (("dark", dark), ("light", dark | light)):
        found += too_close(theme, values)
    known = {*dark.values(), *light.values()}
    for path in sorted((folder / "src").rglob("*")):
        if path.suffix in KINDS and path != folder / TOKENS:
            name = path.relative_to(folder).as_posix()
            allowed = known if name == ICON else set()
            found += [f"{name}: {word} belongs into {TOKENS}" for word in strays(path) if word not in allowed]
    return found


def read(tokens: Path) -> Mapping[str, dict[str, str]]:
    """Selector -> variable (without ``--tt-``) -> value."""
    text = COMMENT.sub("", tokens.read_text("utf-8"))
    blocks = re.findall(r"([^{}]+)\{([^{}]*)\}", text)
    return {
        selector.strip(): {name: value.strip() for name, value in re.findall(r"--tt-([\w-]+)\s*:\s*([^;]+);", body)}
        for selector, body in blocks
    }


def too_close(theme: str, values: Mapping[str, str]) -> Iterator[str]:
    """The pairs of a theme that cannot be told apart well enough."""
    for pair in sorted(set(pairs())):
        ratio = contrast(values[pair.front], values[pair.ground])
        if ratio < pair.ratio:
            yield f"{TOKENS}: {theme}: --tt-{pair.front} on --tt-{pair.ground} is {ratio:.2f}:1, below {pair.ratio}:1"


def strays(path: Path) -> list[str]:
    """Colours that a file names itself: hex, functions, and in CSS and in strings the named ones."""
    text = path.read_text("utf-8")
    if path.suffix == ".css":
        text = COMMENT.sub("", text)
        words = named(
            word for match in DECLARATION.finditer(FONTS.sub("", text)) for word in re.findall(r"[a-z]+", match["value"])
        )
        return [*HEX.findall(text), *FUNCTION.findall(text), *words]
    return [*HEX.findall(text), *FUNCTION.findall(text), *named(match["word"] for match in QUOTED.finditer(text))]


def named(words: Iterable[str]) -> list[str]:
    """Those of the words that name a colour."""
    return [word for word in words if word in NAMED]


def contrast(front: str, ground: str) -> float:
    """The contrast of two hex colours, 1 to 21."""
    bright, dim = sorted((luminance(front), luminance(ground)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    """How bright a hex colour is to the eye, 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
