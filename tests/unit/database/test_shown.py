"""What the migration shows an administrator: the owner, and who may take it on, for either kind of logins."""

from __future__ import annotations

import pytest

from infra.database import migrate, roles
from infra.manifest import load


def test_the_owner_is_shown_with_the_login_of_the_place_that_may_take_it_on() -> None:
    there, here = migrate.shown("owner", "my-project"), migrate.shown("owner", None)
    assert there.endswith('grant fillbook_owner to "fb-migrate@my-project.iam" with inherit true, set true;\n')
    assert "create role fillbook_owner nologin createrole" in here
    assert 'create role "migrate" login' in here
    assert "create role" not in there.replace("create role fillbook_owner", "").replace("create role %I nologin", "")


def test_roles_of_the_cloud_make_nobody_and_end_with_who_is_missing() -> None:
    text = migrate.shown("roles", "my-project")
    assert "create role" not in text
    assert text.count("-- ") == len(roles.logins(load()))
    assert "no such IAM user of the database: " in text
    assert migrate.shown("roles", None).count("create role") == len(roles.logins(load()))


@pytest.mark.parametrize("project", ["", "UPPER", "a-project-with-a-name-that-is-much-too-long-for-anybody", 'x"; drop'])
def test_a_project_that_cannot_be_one_is_refused(project: str) -> None:
    with pytest.raises(ValueError, match="no name of a login"):
        migrate.shown("roles", project)


def test_the_place_says_which_logins_are_given_their_groups() -> None:
    url = {"FILLBOOK_DATABASE_URL": "postgresql://x@127.0.0.1/x"}
    local = migrate.MigrateConfig.from_environment({"FILLBOOK_ENV": "local", **url}).wanted()
    cloud = migrate.MigrateConfig.from_environment({"FILLBOOK_ENV": "cloud", "FILLBOOK_PROJECT": "my-project", **url}).wanted()
    assert local == roles.logins(load())
    assert cloud == roles.logins(load(), "my-project")
    with pytest.raises(Exception, match="whose service accounts log in"):
        migrate.MigrateConfig.from_environment({"FILLBOOK_ENV": "cloud", **url}).wanted()
