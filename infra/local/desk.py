"""The whole desk on this machine: database, messages, schedules, fake Discord and every function from its bundle.

``LocalCloud`` starts it, keeps it running (whatever dies is started again) and stops it without a trace. It refuses to start
twice from one state folder, and it starts no function that the manifest does not name. The door's verb is in ``cloud.py``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database
from infra.local import fakes, plan
from infra.local.control import ClockControl, Control
from infra.local.database import LocalDatabase
from infra.local.deskclock import DeskClockFile
from infra.local.discord_store import DiscordStore
from infra.local.fakes import DISCORD, FLEX, MT5, TWS, TWS_CONTROL
from infra.local.home import ROOT, Home
from infra.local.prepared import prepare, sources_digest
from infra.local.processes import Keeper, Program
from infra.local.readiness import wait_until_ready
from infra.local.snapshot_targets import D1, TARGETS
from infra.local.wiring import RETRY_FLOOR_SECONDS, CloudJob
from infra.manifest import Manifest, load

PUBSUB, POSTGRES = "pubsub", "postgres"
FLEX_SEND_PATH = "/AccountManagement/FlexWebService/SendRequest"
STOP_GRACE_SECONDS = 10.0
READY_SECONDS = 60.0
HOST = "127.0.0.1"

Tell = Callable[[str, str], None]


class LocalCloud:
    """One local desk in the state folder ``home``; use it as a context manager.

    ``functions``: names to start (default: all of the manifest). ``desk_start``: the desk clock stands still there until it
    is moved; None leaves the clock as it is. ``database_url``: another server instead of the embedded one. ``fsync=False``:
    a faster database that forgets what it acknowledged when it is killed. ``instances``: how many processes of a function there
    are, where more than one; pushes go to them in turn, all else to the first. ``overrides``: settings for every function that
    declares them; ``function_overrides``: for one; ``process_environment``: variables of every process, such as TZ.
    ``root``: the work tree the functions are bundled from. ``tell(what, detail)`` hears progress.
    """

    def __init__(
        self,
        home: Path,
        *,
        functions: Sequence[str] | None = None,
        instances: Mapping[str, int] | None = None,
        desk_start: datetime | None = None,
        ports: Mapping[str, int] | None = None,
        database_url: str | None = None,
        fsync: bool = True,
        overrides: Mapping[str, str] | None = None,
        function_overrides: Mapping[str, Mapping[str, str]] | None = None,
        process_environment: Mapping[str, str] | None = None,
        retry_floor_seconds: float = RETRY_FLOOR_SECONDS,
        bundles: Path | None = None,
        manifest: Manifest | None = None,
        root: Path = ROOT,
        tell: Tell | None = None,
    ) -> None:
        self.manifest = manifest or load()
        self.home = Home(home)
        self.functions = tuple(self.manifest.functions if functions is None else functions)
        self._further = plan.further(instances or {})
        self._desk_start, self._wanted_ports = desk_start, dict(ports or {})
        self._overrides, self._function_overrides = dict(overrides or {}), dict(function_overrides or {})
        self._process_environment = dict(process_environment or {})
        self._floor = retry_floor_seconds
        self._root, self._bundles = root, bundles or self.home.bundles
        self._tell: Tell = tell or (lambda _what, _detail: None)
        self._postgres = LocalDatabase(self.home.path / "pgdata", url=database_url, fsync=fsync)
        self._keeper: Keeper | None = None
        self._place: plan.Place | None = None
        self._database: Database | None = None
        self._ports: dict[str, int] = {}
        self.secrets: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it answers. Raises AlreadyRunning, or StartFailed with the log of what died."""
        self.home.take()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.secrets = self.home.secrets()
        self._ports = self.home.ports(
            [POSTGRES, PUBSUB, DISCORD, *self._broker_ports(), *self.functions, *self._further], self._wanted_ports
        )
        clock = DeskClockFile(self.home.clock)
        if self._desk_start is not None:
            clock.apply({"desk_at": self._desk_start.isoformat(), "paused": True, "speed": 1.0})
        self.home.turn_logs()
        self._keeper = keeper = Keeper(lambda name, status: self._tell(name, f"died with status {status}; starting it again"))
        self._place = self._here()
        self._write_wiring()
        for name, command, given in self._fakes():
            keeper.start(self._program(name, command, given))
        with ThreadPoolExecutor(2) as pool:
            database = pool.submit(self._start_database)
            self._bundle_all()
            for name in self.functions:  # they connect on first use, so they need not wait for the database
                keeper.start(self._function(name))
            self._start_further(keeper, self._further)
            database.result()
        keeper.start(self._program(PUBSUB, self._pubsub_command(), {}))
        all_of_them = (PUBSUB, DISCORD, *self._broker(), *self.functions, *self._further)
        addresses = {name: (keeper.get(name), self._probe(name)) for name in all_of_them}
        wait_until_ready(addresses, READY_SECONDS, self._tell)
        self._write_run(keeper)

    def _start_further(self, keeper: Keeper, further: Mapping[str, str]) -> None:
        for name, function in further.items():
            keeper.start(self._function(function, name))

    def _start_database(self) -> None:
        roles = {name: self.manifest.functions[name].database_roles for name in self.functions}
        roles = {name: groups for name, groups in roles.items() if groups}
        if not roles:
            return
        begun = time.monotonic()
        self._postgres.start(self._ports[POSTGRES])
        self._postgres.migrate(roles)
        self._tell(POSTGRES, f"{self._postgres.told}, migrated in {time.monotonic() - begun:.1f} s")

    def _bundle_all(self) -> None:
        begun = time.monotonic()
        self._bundles.mkdir(parents=True, exist_ok=True)
        sources = sources_digest(self._root)
        made = sum(prepare(name, self._root, self._bundles / name, sources) for name in self.functions)
        self._tell("bundles", f"{made} of {len(self.functions)} written in {time.monotonic() - begun:.1f} s")

    def _here(self) -> plan.Place:
        store = DiscordStore(self.home.path / "discord.sqlite")
        try:
            webhooks = {name: store.ensure_webhook(name).url for name in plan.DISCORD_WEBHOOKS.values()}
            read_token = store.read_token()
        finally:
            store.close()
        return plan.Place(
            urls={name: f"http://{HOST}:{self._ports[name]}" for name in self.functions},
            control_url=f"http://{HOST}:{self._ports[PUBSUB]}",
            discord_url=f"http://{HOST}:{self._ports[DISCORD]}",
            clock_path=str(self.home.clock),
            database_url=self._postgres.url_at(self._ports[POSTGRES]),
            database_is_ours=self._postgres.is_ours,
            secrets=self.secrets,
            discord_webhooks=webhooks,
            discord_read_token=read_token,
            tws_port=self._ports.get(TWS, 0),
            flex_url=f"http://{HOST}:{self._ports[FLEX]}{FLEX_SEND_PATH}" if FLEX in self._ports else "",
            mt5_url=f"http://{HOST}:{self._ports[MT5]}" if MT5 in self._ports else "",
            d1_url=f"http://{HOST}:{self._ports[D1]}" if D1 in self._ports else "",
            overrides=self._overrides,
            function_overrides=self._function_overrides,
        )

    @property
    def place(self) -> plan.Place:
        """Addresses and secrets of this run."""
        if self._place is None:
            raise RuntimeError("the local cloud is not started")
        return self._place

    @property
    def keeper(self) -> Keeper:
        """The supervisor of its processes."""
        if self._keeper is None:
            raise RuntimeError("the local cloud is not started")
        return self._keeper

    def _write_wiring(self) -> None:
        jobs = tuple(self._job(name) for name in self.functions if self.manifest.has_job(name))
        more = {name: f"http://{HOST}:{self._ports[name]}" for name in self._further}
        wiring = plan.wiring(
            self.manifest,
            self.place.urls,
            retry_floor_seconds=self._floor,
            chosen=self.functions,
            jobs=jobs,
            further={name: tuple(more[one] for one, of in self._further.items() if of == name) for name in self.functions},
        )
        wiring.write(self.home.path / "wiring.json")

    def _probe(self, name: str) -> str:
        own = {
            PUBSUB: "/_control",
            DISCORD: "/",
            TWS: "/_control/knobs",
            MT5: "/_fake/clock",
            **dict.fromkeys(TARGETS, "/_fault"),
        }
        path = own.get(name, "/favicon.ico")  # not our functions' code
        return f"http://{HOST}:{self._ports[TWS_CONTROL if name == TWS else name]}{path}"

    def _broker(self) -> tuple[str, ...]:
        return fakes.names(self.functions)

    def _fakes(self) -> Iterator[tuple[str, list[str], Mapping[str, str]]]:
        return fakes.commands(self.functions, self.home.path, self.home.clock, self._ports, self.secrets)

    def _broker_ports(self) -> tuple[str, ...]:
        return fakes.port_names(self.functions)

    def _pubsub_command(self) -> list[str]:
        home = self.home.path
        arguments = ["--home", str(home), "--wiring", str(home / "wiring.json"), "--port", str(self._ports[PUBSUB])]
        return [sys.executable, "infra.local.server", *arguments]

    def _program(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path = ROOT) -> Program:
        path = str(folder) if folder != ROOT else f"{ROOT}{os.pathsep}{ROOT / 'shared'}"
        base = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ}
        base |= {"LANG": "C.UTF-8", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        return Program(
            name=name,
            command=command,
            environment={**base, **self._process_environment, **environment},
            folder=folder,
            log=self.home.logs / f"{name}.log",
        )

    def _function(self, name: str, instance: str | None = None) -> Program:
        """One instance of a function; the first has the function's own name."""
        function, folder, instance = self.manifest.functions[name], self._bundles / name, instance or name
        arguments = ["--target", name, "--source", str(folder / "main.py"), "--host", HOST, "--port", str(self._ports[instance])]
        environment = plan.settings(self.manifest, function, self.place)
        environment |= {"THREADS": str(function.threads), "PYTHONDONTWRITEBYTECODE": "1"}
        served = [str(Path(__file__).with_name("served.py")), str(self.home.requests / f"{instance}.log")]
        return self._program(instance, [sys.executable, *served, *arguments], environment, folder)

    def _job(self, name: str) -> CloudJob:
        function, folder = self.manifest.functions[name], self._bundles / name
        environment = plan.settings(self.manifest, function, self.place) | {"PYTHONDONTWRITEBYTECODE": "1"}
        program = self._program(function.job_name, [], environment, folder)
        return plan.job(self.manifest, function, program.environment, folder=str(folder), log=str(program.log))

    def _write_run(self, keeper: Keeper | None) -> None:
        document: dict[str, Any] = {"ports": self._ports, "status": "running" if keeper else "stopped"}
        if keeper:
            pids = {one.program.name: one.pid for one in keeper.all()} | {POSTGRES: self._postgres.pid}
            document |= {
                "pid": os.getpid(),
                "pids": pids,
                "control_url": self.control.url,
                "database_url": plan.operator_url(self.place.database_url),
                "functions": dict(self.place.urls),
                "discord_url": self.place.discord_url,
                "tracker_url": self.place.urls.get("trade_tracker"),
                "operator_env": self.operator_environment,
            }
        self.home.write_run(document)

    @property
    def is_started(self) -> bool:
        """Whether anything was started and not yet stopped."""
        return self._keeper is not None

    def stop(self, *, grace_seconds: float = STOP_GRACE_SECONDS) -> dict[str, dict[str, Any]]:
        """Stop everything in order: deliveries, functions, Discord, database; nothing is left running, whatever happens.

        Whatever takes longer than the grace is killed. Returns the last ``figures``.
        """
        figures: dict[str, dict[str, Any]] = {}
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            if self._database is not None:
                self._database.close()
                self._database = None
            try:
                for names in ([PUBSUB], [*self.functions, *self._further], [DISCORD, *self._broker()]):
                    keeper.stop(names, grace_seconds)
            finally:
                figures = self._figures(keeper)
                keeper.close()
                self._postgres.close()
                self._write_run(None)
        self.home.release()
        return figures

    # -- a running desk ---------------------------------------------------------------------------------------------------

    def url(self, function: str) -> str:
        """Base URL of a function, without a trailing slash; KeyError when it was not started."""
        return self.place.urls[function]

    @property
    def control(self) -> Control:
        """The control panel."""
        return Control(self.place.control_url)

    @property
    def clock(self) -> ClockControl:
        """The desk clock's hand."""
        return ClockControl(self.control)

    @property
    def database(self) -> Database:
        """A small pool as the superuser, for looking and for setting the scene; closed with the cloud."""
        if self._database is None:
            config = DatabaseConfig.from_environment({"FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": self.place.database_url})
            self._database = Database.open(config, application_name="local-cloud", pool_size=2)
        return self._database

    @property
    def operator_environment(self) -> dict[str, str]:
        """The settings that an operator's verb needs to work on this desk."""
        return plan.operator_settings(self.manifest, self.place)

    def scale(self, instances: Mapping[str, int]) -> None:
        """Have so many processes of functions from now on, never fewer than before."""
        new = {name: function for name, function in plan.further(instances).items() if name not in self._further}
        self._ports |= self.home.ports(list(new), {})
        self._further |= new
        self._start_further(self.keeper, new)
        self.wait_until_up(*new)
        self._write_wiring()
        self.restart(PUBSUB)

    def function_of(self, process: str) -> str | None:
        """The function that a process is an instance of; None where it is something else's."""
        return process if process in self.functions else self._further.get(process)

    def logs(self, name: str) -> str:
        """What a process has written in this run."""
        path = self.home.logs / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def pid(self, name: str) -> int | None:
        """Its process id; None while it does not run."""
        return self._postgres.pid if name == POSTGRES else self.keeper.get(name).pid

    def kill(self, name: str, *, stay_down: bool = False) -> None:
        """Kill -9 a process (a function, ``pubsub``, ``discord`` or ``postgres``) with all it started.

        It comes back by itself, unless ``stay_down``: then ``revive`` brings it back.
        """
        if name == POSTGRES:
            self._postgres.kill(stay_down=stay_down)
        else:
            self.keeper.kill(name, stay_down=stay_down)

    def revive(self, name: str) -> None:
        """Start what was killed to stay down, and wait until it answers."""
        if name == POSTGRES:
            self._postgres.start(self._ports[POSTGRES])
        else:
            self.keeper.start(self.keeper.get(name).program)
            self.wait_until_up(name)

    def restart(self, name: str) -> None:
        """Stop a process in order, start it again and wait until it answers."""
        if name == POSTGRES:
            self._postgres.stop()
        else:
            self.keeper.stop([name], STOP_GRACE_SECONDS)
        self.revive(name)

    def wait_until_up(self, *names: str) -> None:
        """Wait until these processes answer, as after a kill. Raises StartFailed."""
        waiting = {name: (self.keeper.get(name), self._probe(name)) for name in names if name != POSTGRES}
        wait_until_ready(waiting, READY_SECONDS, lambda _name, _where: None, deaths_allowed=True)
        while POSTGRES in names and self._postgres.pid is None:
            time.sleep(0.01)

    def figures(self) -> dict[str, dict[str, Any]]:
        """By process: ``restarts``, ``exit`` (status; None: it runs), ``peak_bytes`` (largest resident size so far)."""
        for one in self.keeper.all():
            one.measure()
        return self._figures(self.keeper)

    def _figures(self, keeper: Keeper) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {
            one.program.name: {"restarts": one.restarts, "exit": one.exit_status, "peak_bytes": one.peak_bytes}
            for one in keeper.all()
        }
        restarts = max(self._postgres.starts - 1, 0)
        found[POSTGRES] = {"restarts": restarts, "exit": None, "peak_bytes": self._postgres.peak_bytes()}
        return found
