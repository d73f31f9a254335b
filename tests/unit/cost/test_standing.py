"""What stands in a month is what the cloud program would make, no more and no less."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from infra.cloud import model
from infra.cost import prices
from infra.cost.model import DATABASE, DESK, Measure
from infra.cost.standing import VCPU, deployed, example, of, sized, standing
from infra.manifest import load

PRICES = prices.load()


def test_what_stands_is_counted_from_the_plan_of_the_cloud_program() -> None:
    usage = standing(PRICES, {})
    assert usage[DESK, Measure.SCHEDULER_JOBS] == len(load().schedules)
    assert usage[DESK, Measure.FORWARDING_RULE_HOURS] == 720
    assert usage[DESK, Measure.ARMOR_POLICIES] == len(of(example(), model.ADDRESS_RULES)) >= 1
    server = deployed(example())
    assert usage[DATABASE, Measure.DATABASE_VCPU_HOURS] == server.vcpu * server.copies * 720
    assert usage[DATABASE, Measure.BACKUP_GIB_MONTHS] == server.storage_gib


def test_another_database_is_another_price_and_one_that_stands_by_doubles_it() -> None:
    size = deployed(example())
    one, two = (standing(PRICES, {}, size.model_copy(update={"copies": copies})) for copies in (1, 2))
    assert two[DATABASE, Measure.DATABASE_GIB_HOURS] == 2 * one[DATABASE, Measure.DATABASE_GIB_HOURS] == 2 * size.gib * 720


@pytest.mark.parametrize(("busy", "vcpu"), [("0.1", 2), ("1.4", 2), ("1.41", 4), ("10.6", 16)])
def test_a_database_is_doubled_only_when_so_much_of_it_would_be_busy(busy: str, vcpu: int) -> None:
    size = deployed(example()).model_copy(update={"vcpu": Decimal(2), "gib": Decimal("7.5")})
    found = sized(size, Decimal(busy))
    assert (found.vcpu, found.gib) == (vcpu, Decimal("3.75") * vcpu)


def test_every_instance_has_the_processors_that_the_price_counts() -> None:
    limits = [one.get("template.containers.0.resources.limits.cpu") for one in of(example(), model.SERVICE)]
    assert {Decimal(str(one)) for one in limits} == {Decimal(VCPU)}


def test_a_tier_that_names_no_size_is_refused() -> None:
    (server,) = of(example(), model.SQL)
    settings = {**server.properties["settings"], "tier": "db-f1-micro"}
    with pytest.raises(ValueError, match="names no size"):
        deployed((replace(server, properties={**server.properties, "settings": settings}),))
