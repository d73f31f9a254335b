"""From the manifest to this machine: who listens where, who may call whom, which environment each function gets.

Pure: addresses and secrets go in, environments and wiring come out. A function gets exactly the settings that the manifest
gives it, no more, so that one that works here lacks nothing in the cloud. What is local (loopback addresses, the desk clock,
the fake Discord) stands here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from infra.local import snapshot_targets
from infra.local.home import desk_keys, metrics_keys
from infra.local.wiring import CloudJob, Job, Subscription, Wiring
from infra.manifest import DATABASE_ENV, Function, Manifest

OPERATOR_SPEAKS_TO = ("trade_tracker", "execution_sync", "account_sync", "replay_worker", "snapshot_publisher")
"""Functions that an operator's verbs call over HTTP."""
DISCORD_WEBHOOKS = {
    "DISCORD_EXECUTIONS_WEBHOOK": "executions",
    "DISCORD_OPS_WEBHOOK": "ops",
    "DISCORD_LANES_WEBHOOK": "lanes",
}

TWS_ACCOUNT, FLEX_ACCOUNT = "DU1234567", "U1234567"
"""The fake gateway's account and the one the fake statements are of; each has its book."""
IBKR_ACCOUNTS = json.dumps([{"id": 1, "code": FLEX_ACCOUNT}, {"id": 2, "code": TWS_ACCOUNT}])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Everything that is particular to this machine and run. ``overrides`` (NAME: value) win over what is made here."""

    urls: Mapping[str, str]
    control_url: str
    discord_url: str
    clock_path: str
    database_url: str
    database_is_ours: bool
    secrets: Mapping[str, str]
    discord_webhooks: Mapping[str, str]
    discord_read_token: str
    tws_port: int = 0
    flex_url: str = ""
    mt5_url: str = ""
    d1_url: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    function_overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def further(instances: Mapping[str, int]) -> dict[str, str]:
    """The processes beyond the first of functions that have so many: name -> function."""
    return {f"{name}-{number}": name for name, count in instances.items() for number in range(2, count + 1)}


def audience(function: Function) -> str:
    """What identity tokens for this function must be made for; a name, never resolved."""
    return f"https://{function.cloud_name}.fillbook-local.invalid"


def email(manifest: Manifest, account: str) -> str:
    """The account's address in the local project."""
    return f"{account}@{manifest.project_local}.iam.gserviceaccount.com"


def role_url(url: str, role: str, *, is_ours: bool) -> str:
    """The database URL for one role: logged in as it on our own server, taken on by SET ROLE on somebody else's."""
    parts = urlsplit(url)
    if is_ours:
        return urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))
    query = [pair for pair in parse_qsl(parts.query) if pair[0] != "role"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("role", role)], safe="/:")))


def operator_url(url: str) -> str:
    """The database URL for a person: the group role ``desk_operator`` cannot log in, so it is taken on."""
    return role_url(url, "desk_operator", is_ours=False)


def settings(manifest: Manifest, function: Function, place: Place) -> dict[str, str]:
    """The function's environment: every setting of its entry that has a value here, and nothing else."""
    known = {name: value for name, value in function.env.items() if value is not None}
    known |= _local(place) | _secrets(place)
    known |= {f"{name.upper()}_AUDIENCE": audience(one) for name, one in manifest.functions.items() if name in place.urls}
    known |= {
        "FILLBOOK_PROJECT": manifest.project_local,
        "FILLBOOK_DATABASE_URL": role_url(place.database_url, function.name, is_ours=place.database_is_ours),
        "FILLBOOK_OIDC_AUDIENCE": audience(function),
        "FILLBOOK_OIDC_CALLERS": ",".join(email(manifest, name) for name in manifest.callers(function.name)),
    }
    known |= {name: value for name, value in place.overrides.items() if name not in DATABASE_ENV}
    known.update(place.function_overrides.get(function.name, {}))
    return {name: value for name, value in known.items() if name in function.settings}


def operator_settings(manifest: Manifest, place: Place) -> dict[str, str]:
    """What a person's verbs need to work on this desk; the same names as the functions'."""
    names = {
        name for function in manifest.functions.values() for name in function.settings if name.startswith(("DISCORD_", "NOTIFY_"))
    }
    known = {name: value for one in manifest.functions.values() for name, value in one.env.items() if value is not None}
    known |= {**_local(place), **_secrets(place), **place.overrides}
    return {name: value for name, value in known.items() if name in names} | {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_PROJECT": manifest.project_local,
        "FILLBOOK_DATABASE_URL": operator_url(place.database_url),
        "FILLBOOK_LOCAL_URL": place.control_url,
        "FILLBOOK_DESK_CLOCK": place.clock_path,
        "FILLBOOK_DESK_KEY": place.secrets["desk_key"],
        **_mt5_of_operators(place),
        **{f"{name.upper()}_URL": place.urls[name] for name in OPERATOR_SPEAKS_TO if name in place.urls},
        **{
            f"{name.upper()}_AUDIENCE": audience(manifest.functions[name])
            for name in OPERATOR_SPEAKS_TO
            if name in place.urls and name in manifest.functions
        },
    }


def _mt5_of_operators(place: Place) -> dict[str, str]:
    """Where MT5 accounts are read; ``MT5_DEMO_URL`` beside it means that it is the stand-in, whose accounts may be linked."""
    if "MT5_SERVICE_URL" in place.overrides:
        return {"MT5_SERVICE_URL": place.overrides["MT5_SERVICE_URL"]}
    return {"MT5_SERVICE_URL": place.mt5_url, "MT5_DEMO_URL": place.mt5_url} if place.mt5_url else {}


def _local(place: Place) -> dict[str, str]:
    return {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_LOCAL_URL": place.control_url,
        "FILLBOOK_DESK_CLOCK": place.clock_path,
        "DISCORD_API_BASE": f"{place.discord_url}/api/v10",
        "IBKR_ACCOUNTS": IBKR_ACCOUNTS,
        "IBKR_TWS_TARGETS": json.dumps([{"host": "127.0.0.1", "port": place.tws_port}] if place.tws_port else []),
        "IBKR_FLEX_QUERY_IDS": "statement:1,confirmation:2" if place.flex_url else "",
        "IBKR_FLEX_SEND_URL": place.flex_url,
        "MT5_SERVICE_URL": place.mt5_url,
        **{f"{name.upper()}_URL": url for name, url in place.urls.items()},
    }


def _secrets(place: Place) -> dict[str, str]:
    return {
        "INGEST_TOKENS": place.secrets["ingest_token"],
        "DESK_KEYS": desk_keys(place.secrets["desk_key"]),
        "INTERNAL_TOKEN": place.secrets.get("internal_token", ""),
        "SIGNING_SECRET": place.secrets.get("signing_secret", ""),
        "METRICS_KEYS": metrics_keys(place.secrets["metrics_key"]) if "metrics_key" in place.secrets else "",
        "DISCORD_READ_TOKEN": place.discord_read_token,
        "IBKR_FLEX_TOKEN": place.secrets.get("flex_token", ""),
        "MT5_SERVICE_API_KEY": place.secrets.get("mt5_key", ""),
        **snapshot_targets.settings(place.d1_url, place.secrets),
        **{name: place.discord_webhooks[channel] for name, channel in DISCORD_WEBHOOKS.items()},
    }


def job(manifest: Manifest, function: Function, environment: Mapping[str, str], *, folder: str, log: str) -> CloudJob:
    """The job that a function's folder is deployed as too; only those who say so, and a person's verbs, may start it."""
    return CloudJob(
        name=function.job_name,
        project=manifest.project_local,
        region=manifest.region,
        callers=tuple(email(manifest, name) for name in manifest.job_starters(function.name)),
        entry=f"main:{function.job_entry}",
        folder=folder,
        environment=environment,
        log=log,
        tasks_max=function.job_tasks_max,
    )


def wiring(
    manifest: Manifest,
    urls: Mapping[str, str],
    *,
    retry_floor_seconds: float,
    chosen: Iterable[str],
    jobs: tuple[CloudJob, ...] = (),
    further: Mapping[str, tuple[str, ...]] | None = None,
) -> Wiring:
    """Topics, subscriptions and schedules of the ``chosen`` functions, with the addresses they have here.

    ``further``: addresses of more instances of a function.
    """
    more = further or {}
    running = {name: manifest.functions[name] for name in chosen}
    subscriptions = tuple(
        Subscription(
            name=one.name,
            topic=one.topic,
            url=urls[one.function] + one.path,
            audience=audience(running[one.function]),
            email=email(manifest, manifest.push_identity),
            ack_deadline_seconds=one.ack_deadline_seconds,
            retry_min_seconds=one.retry_min_seconds,
            retry_max_seconds=one.retry_max_seconds,
            ordered=one.ordering,
            attempts_max=one.attempts_max or 0,
            dead_letter_topic=one.dead_letter_topic,
            in_flight_max=running[one.function].concurrency * (1 + len(more.get(one.function, ()))),
            more_urls=tuple(url + one.path for url in more.get(one.function, ())),
        )
        for one in manifest.subscriptions
        if one.function in running
    )
    schedules = tuple(
        Job(
            name=one.name,
            url=urls[one.function] + one.path,
            audience=audience(running[one.function]),
            email=email(manifest, manifest.schedule_identity),
            cron=one.cron,
            time_zone=one.time_zone,
            body=json.dumps(dict(one.body)),
            retries=one.retries,
            retry_min_seconds=one.retry_min_seconds,
            deadline_seconds=one.deadline_seconds,
        )
        for one in manifest.schedules
        if one.function in running
    )
    return Wiring(
        project=manifest.project_local,
        topics=tuple(manifest.topics),
        subscriptions=subscriptions,
        jobs=schedules,
        cloud_jobs=jobs,
        retry_floor_seconds=retry_floor_seconds,
    )
