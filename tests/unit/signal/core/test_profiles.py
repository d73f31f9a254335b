"""Scenario 45, first half: a profile that is not exactly right does not load, and says which key is wrong."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from fillbook.signal.canonical import canonical, digest
from fillbook.signal.profile import ProfileError, RiskSize, load, parse_profile
from tests.support.receipts import Q_HASH, R_HASH, body

NAMES = ("tt-2026-02", "tt-2026-02-12")


def document(name: str = "tt-2026-02") -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(load(name).text)
    return parsed


def refused(changed: dict[str, Any]) -> str:
    with pytest.raises(ProfileError) as error:
        parse_profile(json.dumps(changed))
    assert error.value.key in str(error.value)
    return error.value.key


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_loads_under_its_own_name_with_the_digest_of_its_canonical_text(name: str) -> None:
    profile = load(name)
    assert profile.version == name
    assert profile.digest == sha256(profile.text.encode()).hexdigest()
    assert parse_profile(profile.text) == profile


def test_the_digest_does_not_depend_on_the_order_or_the_writing_of_the_keys() -> None:
    turned = dict(reversed(document().items()))
    turned["late"] = {"zones": turned["late"]["zones"], "phase": "PHASE"}
    text = json.dumps(turned, indent=2).replace('"PHASE"', "0.700")
    assert parse_profile(text).digest == load("tt-2026-02").digest


@pytest.mark.parametrize("path", ["hysteresis", "entry.rr.cap", "tiers.0.atr", "size.mode", "exit.corridor_adverse_pct"])
def test_scenario_45_a_missing_key_is_named(path: str) -> None:
    changed = document()
    *parents, last = path.split(".")
    node: Any = changed
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) else node[parent]
    del node[last]
    assert refused(changed) == path.replace("tiers.0", "tiers")


def test_scenario_45_an_unknown_key_is_named() -> None:
    assert refused(document() | {"luck": 7}) == "luck"
    changed = document()
    changed["entry"]["rr"]["silver"] = 1
    assert refused(changed) == "entry.rr.silver"


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("hysteresis", 2, "hysteresis"),
        ("just_flipped_min", "60", "just_flipped_min"),
        ("archive_hours", True, "archive_hours"),
        ("late", {"phase": "soon", "zones": []}, "late.phase"),
        ("late", {"phase": 0.7, "zones": "HIGH"}, "late.zones"),
        ("corridor", {"long": [-10], "short": [-12, 10]}, "corridor.long"),
        ("hysteresis", {"receipts": 0}, "hysteresis.receipts"),
    ],
)
def test_a_value_of_the_wrong_form_is_named(path: str, value: Any, key: str) -> None:
    assert refused(document() | {path: value}) == key


def test_tiers_that_do_not_lie_one_behind_the_other_are_refused() -> None:
    changed = document()
    changed["tiers"][1]["atr"] = [0.8, 1.618]
    assert refused(changed) == "tiers.atr"
    changed = document()
    changed["tiers"][1]["cum"] = 0.5
    assert refused(changed) == "tiers.cum"


def test_the_risk_profile_needs_its_own_keys_and_the_other_one_refuses_them() -> None:
    assert isinstance(load("tt-2026-02-12").size, RiskSize)
    changed = document("tt-2026-02-12")
    del changed["size"]["vix"]
    assert refused(changed) == "size.vix"
    changed = document()
    changed["size"]["risk_pct"] = [1, 2]
    assert refused(changed) == "size.risk_pct"


def test_an_unknown_profile_name_is_an_error_that_names_the_setting() -> None:
    for name in ("tt-1999", "../profiles/tt-2026-02"):
        with pytest.raises(ProfileError, match="strategy_profile"):
            load(name + "x")


def test_the_canonical_form_of_r_and_q_has_the_hashes_of_the_specification() -> None:
    assert (digest(body("R")), digest(body("Q"))) == (R_HASH, Q_HASH)


def test_the_canonical_form_refuses_a_float() -> None:
    with pytest.raises(TypeError, match="float"):
        canonical({"price": 100.4})
