"""The fake Discord's inbox: the messages as Discord would draw them, in plain HTML and CSS.

Every text is escaped; of Discord's Markdown only what our messages can contain is drawn: backslash escapes, strike,
bold, code. Footers are drawn as they are, as Discord does. The page reloads itself and runs no script.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
REFRESH_SECONDS = 3
NEW_YORK = ZoneInfo("America/New_York")

_ESCAPED = re.compile(r"\\([\\*_~`|>#\[\]()<@:\-!])")
_INLINE = (
    (re.compile(r"~~(.+?)~~", re.DOTALL), r"<s>\1</s>"),
    (re.compile(r"\*\*(.+?)\*\*", re.DOTALL), r"<b>\1</b>"),
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
)
_HIDDEN = 0xE000  # private use area: where an escaped character hides while Markdown is read

_STYLE = """
:root { color-scheme: dark }
* { box-sizing: border-box }
body {
    margin: 0; background: #313338; color: #dbdee1;
    font: 16px/1.375 "gg sans", "Noto Sans", Helvetica, Arial, sans-serif; display: flex;
    min-height: 100vh;
}
nav {
    background: #2b2d31; width: 240px; padding: 16px 8px; flex: none; position: sticky; top: 0;
    height: 100vh; overflow: auto;
}
nav h1 { font-size: 16px; margin: 0 8px 4px; color: #f2f3f5 }
nav p { font-size: 12px; margin: 0 8px 16px; color: #949ba4 }
nav a { display: block; padding: 6px 8px; border-radius: 4px; color: #949ba4; text-decoration: none }
nav a:hover, nav a.on { background: #404249; color: #f2f3f5 }
nav a:focus-visible { outline: 2px solid #5865f2 }
main { flex: 1; padding: 16px; min-width: 0; max-width: 900px }
article { display: flex; gap: 16px; padding: 8px 0 12px }
.avatar {
    width: 40px; height: 40px; border-radius: 50%; background: #5865f2; color: #fff; display: grid;
    place-items: center; flex: none; font-weight: 600;
}
.head b { color: #f2f3f5; font-weight: 500 }
.head .bot {
    background: #5865f2; color: #fff; font-size: 10px; font-weight: 600; border-radius: 3px;
    padding: 1px 4px; margin: 0 6px; vertical-align: 2px;
}
.head time, .edited, .where { color: #949ba4; font-size: 12px }
.embed {
    background: #2b2d31; border-left: 4px solid #1e1f22; border-radius: 4px; padding: 8px 16px 16px 12px;
    margin-top: 4px; max-width: 520px; overflow-wrap: anywhere;
}
.embed h2 { font-size: 16px; font-weight: 600; color: #f2f3f5; margin: 8px 0 0 }
.embed p { font-size: 14px; margin: 8px 0 0; white-space: pre-wrap }
.fields { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px; margin-top: 8px }
.fields div { font-size: 14px; white-space: pre-wrap }
.fields .wide { grid-column: 1 / -1 }
.fields b { display: block; color: #f2f3f5; font-weight: 600 }
.embed footer { font-size: 12px; color: #dbdee1; margin-top: 8px }
code { background: #1e1f22; border-radius: 3px; padding: 0 3px; font-size: 85% }
s { color: #949ba4 }
.empty { color: #949ba4 }
"""


def inbox(
    channels: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]], *, selected: str | None, now: datetime
) -> str:
    """Return the page: ``messages`` newest first as stored, drawn newest first."""
    names = {str(channel["channel_id"]): str(channel["name"]) for channel in channels}
    links = "".join(_link(identity, name, on=identity == selected) for identity, name in names.items())
    drawn = "".join(_message(message, names) for message in messages) or '<p class="empty">No messages yet.</p>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        f"<title>Discord inbox (local fake)</title><style>{_STYLE}</style></head><body>"
        f'<nav aria-label="Channels"><h1>Fillbook desk</h1><p>Local fake of Discord<br>desk clock {_when(now)}</p>'
        f'<a href="/"{" class=on" if selected is None else ""}>All channels</a>{links}</nav>'
        f"<main>{drawn}</main></body></html>"
    )


def _link(identity: str, name: str, *, on: bool) -> str:
    return f'<a href="/?channel={html.escape(identity)}"{" class=on" if on else ""}># {html.escape(name)}</a>'


def _message(message: Mapping[str, Any], names: Mapping[str, str]) -> str:
    author = str(message["author"]["username"])
    edited = ' <span class="edited">(edited)</span>' if message["edited_timestamp"] else ""
    content = f"<p>{markdown(message['content'])}{edited}</p>" if message["content"] else ""
    embeds = "".join(_embed(embed) for embed in message["embeds"])
    return (
        f'<article id="m{html.escape(str(message["id"]))}"><div class="avatar" aria-hidden="true">'
        f"{html.escape(author[:1].upper())}</div>"
        f'<div><div class="head"><b>{html.escape(author)}</b><span class="bot">APP</span>'
        f"<time>{_when(datetime.fromisoformat(message['timestamp']))}</time> "
        f'<span class="where"># {html.escape(names.get(str(message["channel_id"]), "unknown"))}</span>'
        f"{'' if content else edited}</div>{content}{embeds}</div></article>"
    )


def _embed(embed: Mapping[str, Any]) -> str:
    parts = []
    if embed.get("title"):
        parts.append(f"<h2>{markdown(embed['title'])}</h2>")
    if embed.get("description"):
        parts.append(f"<p>{markdown(embed['description'])}</p>")
    if embed.get("fields"):
        fields = "".join(
            f"<div{'' if one['inline'] else ' class=wide'}><b>{markdown(one['name'])}</b>{markdown(one['value'])}</div>"
            for one in embed["fields"]
        )
        parts.append(f'<div class="fields">{fields}</div>')
    below = [html.escape(embed.get("footer", {}).get("text", ""))]
    if embed.get("timestamp"):
        below.append(_when(datetime.fromisoformat(embed["timestamp"])))
    if any(below):
        parts.append(f"<footer>{' • '.join(part for part in below if part)}</footer>")
    colour = f"#{int(embed['color']):06x}" if "color" in embed else "#1e1f22"
    return f'<section class="embed" style="border-left-color: {colour}">{"".join(parts)}</section>'


def markdown(text: str) -> str:
    """Return ``text`` as safe HTML with the Markdown that Discord would draw."""
    hidden = _ESCAPED.sub(lambda match: chr(_HIDDEN + ord(match.group(1))), text)
    drawn = html.escape(hidden)
    for pattern, replacement in _INLINE:
        drawn = pattern.sub(replacement, drawn)
    return re.sub(f"[{chr(_HIDDEN)}-{chr(_HIDDEN + 0xFF)}]", lambda match: html.escape(chr(ord(match.group(0)) - _HIDDEN)), drawn)


def _when(instant: datetime) -> str:
    return instant.astimezone(NEW_YORK).strftime("%Y-%m-%d %H:%M:%S %Z")
