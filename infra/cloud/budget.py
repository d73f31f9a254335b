"""What a month may cost, and who is told on the way there. A budget tells; it switches nothing off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infra.cloud.desk import Desk
from infra.cloud.model import BUDGET, Resource
from infra.cloud.watch import channels

SPENT: Final = (0.5, 0.8, 1.0)
FORECAST: Final = (1.0,)


def budget(desk: Desk) -> Iterator[Resource]:
    """One budget for the project, with thresholds of what is spent and of what the month will come to."""
    rules = [{"threshold_percent": part, "spend_basis": "CURRENT_SPEND"} for part in SPENT]
    rules += [{"threshold_percent": part, "spend_basis": "FORECASTED_SPEND"} for part in FORECAST]
    yield Resource(
        type=BUDGET,
        name="budget",
        properties={
            "billing_account": desk.settings.billing_account,
            "display_name": f"Fillbook in {desk.project}",
            "budget_filter": {"projects": [f"projects/{desk.settings.project_number}"], "calendar_period": "MONTH"},
            "amount": {"specified_amount": {"currency_code": desk.settings.currency, "units": str(desk.settings.budget)}},
            "threshold_rules": rules,
            "all_updates_rule": {
                "monitoring_notification_channels": channels(desk),
                "disable_default_iam_recipients": False,
            },
        },
        depends=("api/billingbudgets",),
    )
