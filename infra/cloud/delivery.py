"""Policies about what arrives: subscriptions, their ends, schedules, and that whoever is sent may come in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from zoneinfo import available_timezones

from infra.cloud import model
from infra.cloud.access import INVOKER, Finding, members
from infra.cloud.look import Look, number
from infra.cloud.model import Resource


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _dead_topics(look: Look) -> dict[str, Resource]:
    """Topics that messages are given up to, by full name, with a subscription that does so."""
    return {
        str(one.get("dead_letter_policy.dead_letter_topic")): one
        for one in look.of(model.SUBSCRIPTION)
        if one.get("dead_letter_policy.dead_letter_topic")
    }


def dead_letter(look: Look) -> Iterator[Finding]:
    """A message that cannot be delivered is given up to a topic; the end of the line alone tries for ever."""
    dead = _dead_topics(look)
    for one in look.of(model.SUBSCRIPTION):
        is_end = str(one.get("topic")) in dead or str(one.get("topic")).endswith("-dead")
        attempts = one.get("dead_letter_policy.max_delivery_attempts", 0)
        if not is_end and not one.get("dead_letter_policy.dead_letter_topic"):
            yield one.name, "a poisoned message comes again for ever: no dead letter topic"
        elif not is_end and not 5 <= attempts <= 100:
            yield one.name, f"{attempts} attempts: the platform takes 5 to 100"


def dead_letter_unread(look: Look) -> Iterator[Finding]:
    """What is given up is kept by somebody: a topic without subscription forgets at once."""
    read = {str(one.get("topic")) for one in look.of(model.SUBSCRIPTION)}
    for topic, one in _dead_topics(look).items():
        if topic not in read:
            yield one.name, f"gives messages up to {topic}, which nobody reads"


def dead_letter_rights(look: Look) -> Iterator[Finding]:
    """Pub/Sub itself may publish what it gives up, and take it off where it was."""
    publish = {str(one.get("topic")) for one in look.of(model.TOPIC_MEMBER) if _is_agent(one, "roles/pubsub.publisher")}
    take = {
        str(one.get("subscription")) for one in look.of(model.SUBSCRIPTION_MEMBER) if _is_agent(one, "roles/pubsub.subscriber")
    }
    for one in look.of(model.SUBSCRIPTION):
        topic = str(one.get("dead_letter_policy.dead_letter_topic", ""))
        if topic and topic.rpartition("/")[2] not in publish:
            yield one.name, f"Pub/Sub may not publish to {topic}"
        if topic and str(one.get("name")) not in take:
            yield one.name, "Pub/Sub may not take what it gave up off the subscription"


def _is_agent(one: Resource, role: str) -> bool:
    return one.get("role") == role and any("@gcp-sa-pubsub." in member for member in members(one))


def topic_unread(look: Look) -> Iterator[Finding]:
    """Every topic has a reader."""
    read = {str(one.get("topic")).rpartition("/")[2] for one in look.of(model.SUBSCRIPTION)}
    dead = {topic.rpartition("/")[2] for topic in _dead_topics(look)}
    for one in look.of(model.TOPIC):
        if str(one.get("name")) not in read | dead:
            yield one.name, "nobody reads it"


def expiry(look: Look) -> Iterator[Finding]:
    """A quiet month deletes no subscription."""
    for one in look.of(model.SUBSCRIPTION):
        if one.get("expiration_policy.ttl") != "":
            yield one.name, f"expires after {one.get('expiration_policy.ttl', '31 days')} without traffic"


def push_signed(look: Look) -> Iterator[Finding]:
    """Pushes carry an identity, made out to the service they go to."""
    for one in look.of(model.SUBSCRIPTION):
        yield from _signed(one, "push_config.push_endpoint", "push_config.oidc_token")


def schedule_signed(look: Look) -> Iterator[Finding]:
    """Scheduled calls carry one too, made out to the service they go to."""
    for one in look.of(model.SCHEDULE):
        yield from _signed(one, "http_target.uri", "http_target.oidc_token")


def _signed(one: Resource, target: str, token: str) -> Iterator[Finding]:
    url, audience = str(one.get(target, "")), str(one.get(f"{token}.audience", ""))
    if not one.get(f"{token}.service_account_email"):
        yield one.name, "calls without an identity"
    elif not url.startswith("https://") or not audience or not url.startswith(f"{audience}/"):
        yield one.name, f"its identity is made out to {audience or 'nobody'}, not to where it goes"


def push_retry(look: Look) -> Iterator[Finding]:
    """A push that failed waits before it comes again, and its deadline outlives the service's own."""
    for one in look.of(model.SUBSCRIPTION):
        if not number(one.get("retry_policy.minimum_backoff", "")) or not number(one.get("retry_policy.maximum_backoff", "")):
            yield one.name, "comes again at once: no retry policy"
        service = look.service_at(str(one.get("push_config.push_endpoint", "")))
        if service is not None and number(one.get("ack_deadline_seconds")) < number(service.get("template.timeout")):
            yield one.name, f"is given up while {service.name} still works on it"


def schedule_zone(look: Look) -> Iterator[Finding]:
    """A schedule says whose time it means."""
    for one in look.of(model.SCHEDULE):
        if one.get("time_zone") not in _zones():
            yield one.name, f"{one.get('time_zone')!r} is no time zone"


def schedule_retry(look: Look) -> Iterator[Finding]:
    """A call that failed is made again, and may take as long as the service may."""
    for one in look.of(model.SCHEDULE):
        if number(one.get("retry_config.retry_count", 0)) < 1:
            yield one.name, "a call that fails is not made again"
        service = look.service_at(str(one.get("http_target.uri", "")))
        deadline = number(one.get("attempt_deadline", 0))
        if service is not None and not number(service.get("template.timeout")) <= deadline <= 1800:
            yield one.name, f"waits {deadline} s for {service.name}"


def target(look: Look) -> Iterator[Finding]:
    """What is called exists."""
    for one in look.of(model.SCHEDULE, model.SUBSCRIPTION):
        url = str(one.get("http_target.uri") or one.get("push_config.push_endpoint"))
        if look.service_at(url) is None:
            yield one.name, f"calls {url}, where there is no service"


def invited(look: Look) -> Iterator[Finding]:
    """Whoever is sent to a service may invoke it."""
    invokers = {
        (str(one.get("name")), member)
        for one in look.of(model.SERVICE_MEMBER)
        if one.get("role") == INVOKER
        for member in members(one)
    }
    for one in look.of(model.SCHEDULE, model.SUBSCRIPTION):
        url = str(one.get("http_target.uri") or one.get("push_config.push_endpoint"))
        sender = one.get("http_target.oidc_token.service_account_email") or one.get(
            "push_config.oidc_token.service_account_email"
        )
        service = look.service_at(url)
        if service is not None and sender and (str(service.get("name")), f"serviceAccount:{sender}") not in invokers:
            yield one.name, f"{sender} may not invoke {service.name}"
