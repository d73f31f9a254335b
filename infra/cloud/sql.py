"""The database server: private, encrypted, logged in to by identity, backed up to the minute, and hard to delete by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from infra.cloud import names
from infra.cloud.desk import LABELS, Desk
from infra.cloud.identities import database_accounts
from infra.cloud.model import SQL, SQL_DATABASE, SQL_USER, Ref, Resource

VERSION: Final = "POSTGRES_16"
BACKUP_AT: Final = "08:00"
"""UTC: between the late fetch of executions and the first statement of the morning, New York."""
MAINTENANCE: Final = {"day": 6, "hour": 12, "update_track": "stable"}
"""Saturday, UTC: no venue of the desk is open."""


def database(desk: Desk) -> Iterator[Resource]:
    """Server, database, and a login per account that has a role in it; groups and grants are the migrations' business."""
    size = desk.settings.database
    yield Resource(
        type=SQL,
        name="database/server",
        properties={
            "project": desk.project,
            "region": desk.region,
            "name": names.SQL_INSTANCE,
            "database_version": VERSION,
            "deletion_protection": True,
            "settings": {
                "edition": "ENTERPRISE",
                "tier": size.tier,
                "availability_type": "REGIONAL" if size.is_regional else "ZONAL",
                "disk_type": "PD_SSD",
                "disk_size": size.disk_gb,
                "disk_autoresize": True,
                "disk_autoresize_limit": size.disk_max_gb,
                "deletion_protection_enabled": True,
                "connector_enforcement": "REQUIRED",
                "user_labels": LABELS,
                "ip_configuration": {
                    "ipv4_enabled": False,
                    "private_network": Ref(name="network", attribute="id"),
                    "ssl_mode": "TRUSTED_CLIENT_CERTIFICATE_REQUIRED",
                },
                "backup_configuration": _backups(desk),
                "database_flags": [{"name": name, "value": value} for name, value in flags(desk).items()],
                "insights_config": {"query_insights_enabled": True, "record_application_tags": True, "query_string_length": 1024},
                "maintenance_window": MAINTENANCE,
            },
        },
        depends=("peering/sql", "api/sqladmin"),
        ignores=("settings.diskSize",),
        is_kept=True,
    )
    server = Ref(name="database/server", attribute="name")
    yield Resource(
        type=SQL_DATABASE,
        name="database",
        properties={"project": desk.project, "instance": server, "name": names.DATABASE, "charset": "UTF8"},
        is_kept=True,
    )
    for account in database_accounts(desk):
        yield Resource(
            type=SQL_USER,
            name=f"database/user/{account}",
            properties={
                "project": desk.project,
                "instance": server,
                "name": names.database_user(account, desk.project),
                "type": "CLOUD_IAM_SERVICE_ACCOUNT",
                "deletion_policy": "ABANDON",  # the server refuses to drop a login that owns or is granted something
            },
            depends=(f"account/{account}",),
        )


def flags(desk: Desk) -> dict[str, str]:
    """The server's settings that differ from the platform's own. What is slow is told by its insights, which leave values out."""
    return {
        "cloudsql.iam_authentication": "on",
        "max_connections": str(desk.manifest.max_connections),
        "timezone": "UTC",
        "log_lock_waits": "on",
        "log_connections": "on",
        "log_disconnections": "on",
        "log_temp_files": "10240",  # kB; a sort that does not fit is worth a look
    }


def _backups(desk: Desk) -> dict[str, Any]:
    size = desk.settings.database
    return {
        "enabled": True,
        "start_time": BACKUP_AT,
        "location": desk.region,
        "point_in_time_recovery_enabled": True,
        "transaction_log_retention_days": size.log_days,
        "backup_retention_settings": {"retained_backups": size.backups, "retention_unit": "COUNT"},
    }
