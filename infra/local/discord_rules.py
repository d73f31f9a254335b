"""What Discord refuses and what it makes of a message: limits, error shapes, normalized embeds, mentions.

Pure. Follows the documented rules of execute-webhook and edit-webhook-message (API v10): every length limit, the
6,000 characters over all embeds, trimmed blanks, required fields; errors come as code 50035 with the path nested as
Discord nests it. Lengths are counted in code points, as Discord counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CONTENT_MAX = 2000
EMBEDS_MAX = 10
EMBEDS_TOTAL_MAX = 6000
TITLE_MAX = 256
DESCRIPTION_MAX = 4096
FIELDS_MAX = 25
NAME_MAX = 256
VALUE_MAX = 1024
FOOTER_MAX = 2048
USERNAME_MAX = 80
COLOR_MAX = 0xFFFFFF
MENTION_KINDS = ("roles", "users", "everyone")
MENTION_IDS_MAX = 100

_MENTION = re.compile(r"(?<!\\)(?:(?P<everyone>@everyone|@here)|<@!?(?P<users>\d{1,20})>|<@&(?P<roles>\d{1,20})>)")


@dataclass(slots=True)
class FormErrors:
    """Collected refusals; ``document`` is the body Discord answers with status 400."""

    found: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)

    def add(self, path: Iterable[str | int], code: str, message: str) -> None:
        """Note one refusal at ``path``."""
        self.found.append((tuple(str(step) for step in path), code, message))

    def document(self) -> dict[str, Any]:
        """Return ``{"message", "code": 50035, "errors": {path: {"_errors": [...]}}}``."""
        tree: dict[str, Any] = {}
        for path, code, message in self.found:
            node = tree
            for step in path:
                node = node.setdefault(step, {})
            node.setdefault("_errors", []).append({"code": code, "message": message})
        return {"message": "Invalid Form Body", "code": 50035, "errors": tree}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An accepted body. ``None`` means: not given (an edit keeps what is there)."""

    content: str | None
    embeds: list[dict[str, Any]] | None
    username: str | None
    allowed_mentions: Mapping[str, Any] | None


class EmptyMessage(Exception):
    """Neither content nor embeds: code 50006."""


def check(body: Mapping[str, Any]) -> tuple[Form, FormErrors]:
    """Parse a create or edit body; the form is usable only when the errors are empty."""
    errors = FormErrors()
    content = _text(errors, ("content",), body.get("content"), CONTENT_MAX)
    embeds = _embeds(errors, body["embeds"]) if body.get("embeds") is not None else ([] if "embeds" in body else None)
    username = _text(errors, ("username",), body.get("username"), USERNAME_MAX)
    if username is not None and (not username or "discord" in username.lower() or "clyde" in username.lower()):
        errors.add(("username",), "USERNAME_INVALID_CONTAINS", 'Username cannot contain "discord"')
    mentions = _allowed_mentions(errors, body.get("allowed_mentions"))
    if content is None and "content" in body:
        content = ""
    return Form(content=content, embeds=embeds, username=username, allowed_mentions=mentions), errors


def _text(errors: FormErrors, path: tuple[str | int, ...], value: object, longest: int, *, required: bool = False) -> str | None:
    if value is None:
        if required:
            errors.add(path, "BASE_TYPE_REQUIRED", "This field is required")
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        errors.add(path, "STRING_TYPE_CONVERT", f'Could not interpret "{value!r}" as string.')
        return None
    text = str(value).strip()
    if required and not text:
        errors.add(path, "BASE_TYPE_REQUIRED", "This field is required")
    elif len(text) > longest:
        errors.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {longest} or fewer in length.")
    return text


def _embeds(errors: FormErrors, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        errors.add(("embeds",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return []
    if len(value) > EMBEDS_MAX:
        errors.add(("embeds",), "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS_MAX} or fewer in length.")
        return []
    total = 0
    embeds = []
    for index, raw in enumerate(value):
        embed = _embed(errors, ("embeds", index), raw)
        total += embed_length(embed)
        if total > EMBEDS_TOTAL_MAX:
            errors.add(("embeds", index), "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBEDS_TOTAL_MAX}")
        embeds.append(embed)
    return embeds


def _embed(errors: FormErrors, path: tuple[str | int, ...], raw: object) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        errors.add(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return {}
    embed: dict[str, Any] = {"type": "rich"}
    for key, longest in (("title", TITLE_MAX), ("description", DESCRIPTION_MAX), ("url", 2048)):
        text = _text(errors, (*path, key), raw.get(key), longest)
        if text:
            embed[key] = text
    if "url" in embed and not embed["url"].startswith(("http://", "https://")):
        errors.add((*path, "url"), "URL_TYPE_INVALID_SCHEME", "Scheme must be one of ('http', 'https').")
    _color(errors, (*path, "color"), raw.get("color"), embed)
    _timestamp(errors, (*path, "timestamp"), raw.get("timestamp"), embed)
    if raw.get("fields") is not None:
        embed["fields"] = _fields(errors, (*path, "fields"), raw["fields"])
        if not embed["fields"]:
            del embed["fields"]
    for part, key in (("footer", "text"), ("author", "name")):
        if raw.get(part) is None:
            continue
        text = _part(errors, (*path, part), raw[part], key, FOOTER_MAX if part == "footer" else NAME_MAX)
        if text:
            embed[part] = {key: text}
    if not (embed.keys() - {"type", "color", "timestamp", "url"}):
        errors.add(path, "BASE_TYPE_REQUIRED", "This field is required")
    return embed


def _part(errors: FormErrors, path: tuple[str | int, ...], raw: object, key: str, longest: int) -> str | None:
    if not isinstance(raw, Mapping):
        errors.add(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return None
    return _text(errors, (*path, key), raw.get(key), longest, required=key == "name")


def _color(errors: FormErrors, path: tuple[str | int, ...], value: object, embed: dict[str, Any]) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(r"-?\d+", str(value)):
        errors.add(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    elif int(value) > COLOR_MAX:
        errors.add(path, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {COLOR_MAX}.")
    elif int(value) < 0:
        errors.add(path, "NUMBER_TYPE_MIN", "int value should be greater than or equal to 0.")
    else:
        embed["color"] = int(value)


def _timestamp(errors: FormErrors, path: tuple[str | int, ...], value: object, embed: dict[str, Any]) -> None:
    if value is None:
        return
    try:
        instant = datetime.fromisoformat(value)  # type: ignore[arg-type]  # TypeError below
    except (TypeError, ValueError):
        errors.add(path, "DATE_TIME_TYPE_PARSE", f"Could not parse {value}. Should be ISO8601.")
        return
    instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    embed["timestamp"] = instant.replace(microsecond=instant.microsecond // 1000 * 1000).isoformat()


def _fields(errors: FormErrors, path: tuple[str | int, ...], value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        errors.add(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return []
    if len(value) > FIELDS_MAX:
        errors.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {FIELDS_MAX} or fewer in length.")
    fields = []
    for index, raw in enumerate(value):
        if not isinstance(raw, Mapping):
            errors.add((*path, index), "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
            continue
        name = _text(errors, (*path, index, "name"), raw.get("name"), NAME_MAX, required=True)
        text = _text(errors, (*path, index, "value"), raw.get("value"), VALUE_MAX, required=True)
        inline = raw.get("inline", False)
        if not isinstance(inline, bool):
            errors.add((*path, index, "inline"), "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
        fields.append({"name": name or "", "value": text or "", "inline": inline is True})
    return fields


def _allowed_mentions(errors: FormErrors, value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        errors.add(("allowed_mentions",), "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return None
    kinds = value.get("parse", [])
    for index, kind in enumerate(kinds if isinstance(kinds, list) else [kinds]):
        if kind not in MENTION_KINDS:
            message = f"Value must be one of {set(MENTION_KINDS)}."
            errors.add(("allowed_mentions", "parse", index), "BASE_TYPE_CHOICES", message)
    for kind in ("users", "roles"):
        ids = value.get(kind, [])
        if not isinstance(ids, list) or len(ids) > MENTION_IDS_MAX:
            errors.add(("allowed_mentions", kind), "BASE_TYPE_MAX_LENGTH", f"Must be {MENTION_IDS_MAX} or fewer in length.")
        elif ids and isinstance(kinds, list) and kind in kinds:
            errors.add(
                ("allowed_mentions",), "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", f"parse:[{kind!r}] and {kind}: both given"
            )
    return value


def embed_length(embed: Mapping[str, Any]) -> int:
    """Return what an embed counts towards the 6,000: title, description, field names and values, footer, author."""
    parts = [embed.get("title", ""), embed.get("description", "")]
    parts += [text for entry in embed.get("fields", []) for text in (entry["name"], entry["value"])]
    parts += [embed.get("footer", {}).get("text", ""), embed.get("author", {}).get("name", "")]
    return sum(len(part) for part in parts)


def pings(form: Form) -> list[dict[str, Any]]:
    """Return every mention of the form: ``{"kind", "text", "where", "would_ping"}``.

    Only mentions in the content ping, and only as far as ``allowed_mentions`` lets them (not given: all do). A mention
    in an embed never pings, but it is drawn as one, so it is listed with ``would_ping`` false.
    """
    listed = []
    for where, text in _texts(form):
        for match in _MENTION.finditer(text):
            kind = str(match.lastgroup)
            allowed = where == "content" and _allows(form.allowed_mentions, kind, match.group(kind))
            listed.append({"kind": kind, "text": match.group(0), "where": where, "would_ping": allowed})
    return listed


def _texts(form: Form) -> Iterable[tuple[str, str]]:
    yield "content", form.content or ""
    for embed in form.embeds or []:
        yield "embed", embed.get("title", "")
        yield "embed", embed.get("description", "")
        for entry in embed.get("fields", []):
            yield "embed", entry["name"]
            yield "embed", entry["value"]


def _allows(allowed: Mapping[str, Any] | None, kind: str, target: str) -> bool:
    if allowed is None:
        return True
    return kind in allowed.get("parse", []) or target in allowed.get(kind, [])


def require_something(content: str, embeds: list[dict[str, Any]]) -> None:
    """Refuse a message that would be empty; raises ``EmptyMessage``."""
    if not content and not embeds:
        raise EmptyMessage
