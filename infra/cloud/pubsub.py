"""Topics and push subscriptions: signed, retried, given up to a topic that is itself read, kept for ever.

Topics are ground (functions publish to them by name); subscriptions need the services they push to. The names are the
manifest's, in the cloud as locally, because messages and logs carry them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from infra.cloud.desk import LABELS, Desk
from infra.cloud.model import SUBSCRIPTION, SUBSCRIPTION_MEMBER, TOPIC, TOPIC_MEMBER, Resource
from infra.manifest import Subscription

KEPT_SECONDS: Final = 7 * 24 * 3600
"""How long a message is kept that nobody takes or gives up: longer than any holiday."""
LAST_KEPT_SECONDS: Final = 31 * 24 * 3600
"""The same at the end of the line, after which nobody has it: the longest that the platform keeps anything."""
PUBLISHER: Final = "roles/pubsub.publisher"
SUBSCRIBER: Final = "roles/pubsub.subscriber"
ORDERS: Final = "orders-processed"
"""The one topic that is written by somebody else's system."""


def topics(desk: Desk) -> Iterator[Resource]:
    """The topics and who may publish: the functions that say so, and Pub/Sub itself where it gives messages up to."""
    region = {"allowed_persistence_regions": [desk.region]}
    for topic in desk.manifest.topics:
        yield Resource(
            type=TOPIC,
            name=f"topic/{topic}",
            properties={"project": desk.project, "name": topic, "labels": LABELS, "message_storage_policy": region},
            depends=("api/pubsub",),
        )
    for entry in desk.functions:
        for topic in entry.publishes:
            account = entry.service_account
            yield _publisher(desk, topic, account, desk.member(account), depends=f"account/{account}")
    for topic in dict.fromkeys(one.dead_letter_topic for one in desk.manifest.subscriptions if one.dead_letter_topic):
        yield _publisher(desk, topic, "pubsub-agent", desk.agent("pubsub"), depends="agent/pubsub")
    for member in desk.settings.order_publishers:
        yield _publisher(desk, ORDERS, member, member, depends="api/pubsub")


def subscriptions(desk: Desk) -> Iterator[Resource]:
    """The push subscriptions; Pub/Sub may acknowledge on its own where it gives messages up."""
    for entry in desk.manifest.subscriptions:
        yield _subscription(desk, entry)
        if entry.dead_letter_topic is not None:
            yield Resource(
                type=SUBSCRIPTION_MEMBER,
                name=f"subscription/{entry.name}/subscriber/pubsub-agent",
                properties={
                    "project": desk.project,
                    "subscription": entry.name,
                    "role": SUBSCRIBER,
                    "member": desk.agent("pubsub"),
                },
                depends=(f"subscription/{entry.name}", "agent/pubsub"),
            )


def _subscription(desk: Desk, entry: Subscription) -> Resource:
    function = desk.manifest.functions[entry.function]
    address, identity = desk.url(function), desk.manifest.push_identity
    properties: dict[str, Any] = {
        "project": desk.project,
        "name": entry.name,
        "topic": desk.topic(entry.topic),
        "labels": LABELS,
        "ack_deadline_seconds": entry.ack_deadline_seconds,
        "enable_message_ordering": entry.ordering,
        "message_retention_duration": f"{KEPT_SECONDS if entry.dead_letter_topic else LAST_KEPT_SECONDS}s",
        # an empty time to live is the platform's way to say never; without the block it is 31 days
        "expiration_policy": {"ttl": ""},
        "retry_policy": {"minimum_backoff": f"{entry.retry_min_seconds}s", "maximum_backoff": f"{entry.retry_max_seconds}s"},
        "push_config": {
            "push_endpoint": f"{address}{entry.path}",
            "oidc_token": {"service_account_email": desk.email(identity), "audience": address},
        },
    }
    depends = [f"topic/{entry.topic}", f"service/{function.cloud_name}", f"account/{identity}"]
    if entry.dead_letter_topic is not None:
        topic = desk.topic(entry.dead_letter_topic)
        properties["dead_letter_policy"] = {"dead_letter_topic": topic, "max_delivery_attempts": entry.attempts_max}
        depends += [f"topic/{entry.dead_letter_topic}", f"topic/{entry.dead_letter_topic}/publisher/pubsub-agent"]
    return Resource(type=SUBSCRIPTION, name=f"subscription/{entry.name}", properties=properties, depends=tuple(depends))


def _publisher(desk: Desk, topic: str, who: str, member: str, *, depends: str) -> Resource:
    return Resource(
        type=TOPIC_MEMBER,
        name=f"topic/{topic}/publisher/{who}",
        properties={"project": desk.project, "topic": topic, "role": PUBLISHER, "member": member},
        depends=(f"topic/{topic}", depends),
    )
