"""Connections fail in every way we know of; the next borrower always gets right answers, or nobody gets any."""

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from fillbook.runtime.config import ConfigError, DatabaseConfig
from fillbook.runtime.db import Call, Database, Settings, driver_connection
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.pool import Pool
from fillbook.runtime.sql import statement
from tests.support.servers import database_config

ONE = Call("room.echo", [1])
TWO = Call("room.echo", [2])


def lent(database):
    """The one idle wire of a database, for looking at its socket."""
    return database._pool._idle[-1][1]


@pytest.mark.parametrize("poison", ["\ud800", "a\x00b", {"k": ["\udfff"]}])
def test_text_that_cannot_be_encoded_never_desynchronises_the_next_borrower(through, proxy, poison):
    through.call(ONE)
    with pytest.raises(Rejected, match="text_invalid"):
        through.call(Call("room.echo", {"text": poison}))
    with through.transaction() as tx:
        tx.call(ONE)
        with pytest.raises(Rejected, match="text_invalid"):
            tx.call(Call("room.echo", {"text": poison}))
        if isinstance(poison, str):
            with pytest.raises(Rejected, match="text_invalid"):
                tx.query(statement("select :a::text as a"), a=poison)
        assert tx.call(TWO) == ([2],)
    assert through.call(ONE) == ([1],)
    assert proxy.connections == 1


def test_an_exception_thrown_into_the_thread_midway_throws_the_connection_away(through, proxy, monkeypatch):
    through.call(ONE)
    wire = lent(through)

    def interrupted(size):
        raise KeyboardInterrupt

    wire._read = interrupted
    with pytest.raises(KeyboardInterrupt):
        through.call(TWO)
    assert through.call(ONE) == ([1],)
    assert proxy.connections == 2


def test_a_socket_timeout_throws_the_connection_away(through, proxy):
    through.call(ONE)
    lent(through)._socket.settimeout(0.05)
    with pytest.raises(Unavailable, match="database_unavailable"):
        through.call(Call("room.wait", {"seconds": "0.4"}))
    assert through.call(TWO) == ([2],)
    assert proxy.connections == 2


def test_a_statement_timeout_is_unavailable_and_keeps_the_connection(room, open_database):
    database = open_database(statement_timeout_seconds=1)
    with database.transaction() as tx:
        tx.execute(statement("set statement_timeout = '30ms'"))
    with pytest.raises(Unavailable):
        database.call(Call("room.wait", {"seconds": "0.4"}))
    assert database.call(TWO) == ([2],)


def test_pooled_connections_send_at_once_and_keep_alive(room):
    room.call(ONE)
    sock = lent(room)._socket
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.gettimeout() > 15


def test_a_session_is_told_its_limits_at_the_start(open_database):
    database = open_database(statement_timeout_seconds=7, lock_timeout_seconds=2)
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone", "application_name"]
    names += ["standard_conforming_strings", "DateStyle", "IntervalStyle", "client_encoding"]
    with database.transaction() as tx:
        found = tx.query(statement("select array(select current_setting(n) from unnest(:names::text[]) n) as v"), names=names)
    assert found == [{"v": ["7s", "2s", "1min", "UTC", "tests", "on", "ISO, MDY", "iso_8601", "UTF8"]}]


def test_a_role_of_the_url_is_all_that_acts(room, open_database):
    limited = open_database("ledger_reader")
    with limited.transaction() as tx:
        assert tx.query(statement("select current_user::text as u")) == [{"u": "ledger_reader"}]


def test_the_unix_socket_is_reached_in_both_spellings(room, postgres, database_url):
    name = database_url.rpartition("/")[2]
    for place in (f"host={postgres.socket_dir}", f"unix_sock={postgres.socket_dir}/.s.PGSQL.{postgres.port}"):
        url = f"postgresql://postgres@:{postgres.port}/{name}?{place}"
        database = Database.open(database_config(url), application_name="socket")
        assert database.call(TWO) == ([2],)
        assert lent(database)._socket.family == socket.AF_UNIX
        database.close()


def test_nobody_waits_longer_than_told_for_a_connection(database_url):
    opened = Database.open(database_config(database_url), application_name="pool")
    pool = Pool(opened._pool._connect, 1, wait_seconds=0.05)
    database = Database(pool)
    with database.transaction() as tx:
        tx.query(statement("select 1 as a"))
        with pytest.raises(Unavailable, match="no free connection"):
            database.call(ONE)
    with database.transaction() as tx:
        assert tx.query(statement("select 1 as a")) == [{"a": 1}]
    database.close()


def test_many_threads_share_few_connections_and_nobody_gets_anothers_answer(room, database_url, proxy):
    database = Database.open(database_config(proxy.url(database_url)), application_name="threads", pool_size=3)

    def work(number):
        with database.transaction() as tx:
            first = tx.call(Call("room.echo", {"n": number}))
            return first + tx.call(Call("room.echo", [number]))

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(work, range(200)))
    assert answers == [({"n": n}, [n]) for n in range(200)]
    assert proxy.connections <= 3
    database.close()


def test_a_transaction_refuses_the_hands_of_another_thread(room):
    with room.transaction() as tx:
        tx.call(ONE)
        caught = []

        def steal():
            try:
                tx.call(TWO)
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=steal)
        thread.start()
        thread.join()
        assert len(caught) == 1
        assert tx.call(TWO) == ([2],)


def test_a_connection_closed_while_idle_is_replaced_before_anything_is_sent(through, proxy):
    through.call(ONE)
    proxy.kill()
    assert through.call(TWO) == ([2],)
    assert proxy.connections == 2


def test_a_connection_that_dies_under_the_first_message_is_replaced_once(through, proxy, monkeypatch):
    through.call(ONE)
    monkeypatch.setattr(type(lent(through)), "is_alive", lambda self: True)
    proxy.kill()
    with through.transaction() as tx:
        assert tx.call(TWO) == ([2],)
    assert proxy.connections == 2


def test_a_session_that_began_read_only_is_thrown_away_once_it_refused_a_write(postgres, database_url):
    """A database that takes writes again is found by itself: its older sessions would refuse them for ever."""
    name, write = database_url.rpartition("/")[2], statement("create table written (a int)")
    postgres.run("psql", "-qc", f"alter database {name} set default_transaction_read_only = on")
    database = Database.open(database_config(database_url), application_name="test", pool_size=1)
    try:
        with pytest.raises(Unavailable, match="25006"), database.transaction() as tx:
            tx.execute(write)
        postgres.run("psql", "-qc", f"alter database {name} reset default_transaction_read_only")
        with database.transaction() as tx:
            tx.execute(write)
    finally:
        database.close()


def test_a_message_with_a_commit_in_it_is_never_repeated(through, proxy, monkeypatch, query):
    through.call(ONE)
    proxy.lose_answers = True
    with pytest.raises(Unavailable), through.transaction() as tx:
        tx.send(Call("room.keep", {"id": 1}))
    proxy.lose_answers = False
    assert [row["id"] for row in query("select id from room.kept")] == [1]  # it had happened: asking again would be wrong


def test_a_commit_whose_answer_is_lost_surfaces_and_the_work_runs_once(through, proxy, query):
    runs = []

    def work(tx):
        runs.append(1)
        tx.call(ONE)
        tx.send(Call("room.keep", {"id": len(runs)}))
        proxy.lose_answers = True

    with pytest.raises(Unavailable, match="database_unavailable"):
        through.run(work)
    proxy.lose_answers = False
    assert len(runs) == 1
    assert query("select id from room.kept") == [{"id": 1}]


def test_a_connection_lost_between_read_and_write_commits_nothing_and_is_not_hidden(through, proxy, query):
    def work(tx):
        tx.call(ONE)
        proxy.kill()
        tx.send(Call("room.keep", {"id": 1}))

    with pytest.raises(Unavailable):
        through.run(work)
    assert query("select id from room.kept") == []
    assert through.call(TWO) == ([2],)


def test_an_unreachable_database_is_unavailable_and_comes_back_by_itself(through, proxy):
    proxy.refuse = True
    for _ in range(6):  # more often than the pool has places: a failed connect must not use one up
        with pytest.raises(Unavailable):
            through.call(ONE)
    proxy.refuse = False
    assert through.call(TWO) == ([2],)


def test_a_refused_login_says_its_code_and_not_its_password():
    url = "postgresql://nobody:canary-password@127.0.0.1:1/x"
    database = Database.open(database_config(url), application_name="x")
    with pytest.raises(Unavailable) as caught:
        database.call(ONE)
    assert "canary" not in str(caught.value)


def test_a_missing_database_is_unavailable_with_its_code(postgres):
    database = Database.open(database_config(postgres.url(database="nowhere")), application_name="x")
    with pytest.raises(Unavailable, match="3D000"):
        database.call(ONE)


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(database_url):
    for mode in ("require", "verify-full"):
        database = Database.open(database_config(f"{database_url}?sslmode={mode}"), application_name="x")
        with pytest.raises(Unavailable, match="database_unavailable"):
            database.call(ONE)


def test_a_wrong_url_is_a_wrong_configuration():
    with pytest.raises(ConfigError, match="FILLBOOK_DATABASE_URL"):
        Database.open(database_config("mysql://a@b/c"), application_name="x").call(ONE)


def test_a_closed_database_lends_nothing_and_takes_back_what_is_out(room):
    with room.transaction() as tx:
        tx.call(ONE)
        room.close()
        assert tx.call(TWO) == ([2],)
    with pytest.raises(Unavailable):
        room.call(ONE)


def test_a_forked_child_opens_its_own_connections_and_leaves_the_parents_alone(through, proxy):
    through.call(ONE)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = through.call(Call("room.echo", "child"))
            os.write(write_end, b"1" if answer == ("child",) else b"0")
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"1"
    os.waitpid(child, 0)
    assert through.call(TWO) == ([2],)
    assert proxy.connections == 2


def test_the_connector_is_imported_only_where_an_instance_is_configured(database_url):
    code = f"""
import sys
from pydantic import SecretStr
from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database
assert "pg8000" not in sys.modules
config = DatabaseConfig(fillbook_env="cloud", fillbook_database_url=SecretStr({database_url!r}))
database = Database.open(config, application_name="x")
assert "pg8000" not in sys.modules
with database.transaction() as tx:
    from fillbook.runtime.sql import statement
    tx.query(statement("select 1 as a"))
heavy = [name for name in ("google.cloud.sql", "grpc", "aiohttp", "sqlalchemy", "alembic", "numpy") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_instance_is_reached_through_the_connector_without_a_second_tls(monkeypatch, database_url):
    asked = {}

    class FakeConnector:
        def connect(self, instance, driver, **options):
            asked.update(options, instance=instance, driver=driver)
            return driver_connection(database_config(database_url), Settings(application_name="fake"))

    monkeypatch.setattr("fillbook.runtime.db._cloud_sql", FakeConnector)
    config = DatabaseConfig(
        fillbook_env="cloud",
        fillbook_database_instance="project:region:instance",
        fillbook_database_name="fillbook",
        fillbook_database_user="signal_worker",
    )
    database = Database.open(config, application_name="signal_worker")
    with database.transaction() as tx:
        assert tx.query(statement("select 1 as a")) == [{"a": 1}]
    assert (asked["instance"], asked["driver"], asked["user"]) == ("project:region:instance", "pg8000", "signal_worker")
    assert (asked["ssl_context"], asked["enable_iam_auth"]) == (False, True)
    assert asked["ip_type"] == "PRIVATE", "the server has no other address, and the connector asks for a public one by itself"
    assert asked["startup_params"]["TimeZone"] == "UTC"
    database.close()


def test_the_secret_of_a_url_is_masked_in_every_representation():
    config = DatabaseConfig(fillbook_env="cloud", fillbook_database_url=SecretStr("postgresql://u:canary@h/d"))
    assert "canary" not in repr(config) + str(config) + config.model_dump_json()


def test_a_connection_that_was_idle_for_long_is_not_trusted(through, proxy, monkeypatch):
    through.call(ONE)
    monkeypatch.setattr("fillbook.runtime.pool.IDLE_SECONDS_MAX", -1.0)
    assert through.call(TWO) == ([2],)
    assert proxy.connections == 2


def test_a_connection_that_cannot_be_replaced_frees_its_place(through, proxy, monkeypatch):
    through.call(ONE)
    monkeypatch.setattr(type(lent(through)), "is_alive", lambda self: True)
    proxy.refuse = True
    proxy.kill()
    for _ in range(6):
        with pytest.raises(Unavailable), through.transaction() as tx:
            tx.call(ONE)
    proxy.refuse = False
    assert through.call(TWO) == ([2],)
