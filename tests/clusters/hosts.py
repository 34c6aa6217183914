"""Hosts made on this machine, each with a network, processes, /tmp and home of its own, and sshd.

They share the file system otherwise, as hosts do that mount the same disk. Processes have to be
apart because `ray stop` ends every Ray that it sees, /tmp because Ray keeps there what it knows of
a cluster.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
PROGRAMS = ("bash", "ip", "make", "rsync", "ssh", "ssh-keygen", "sshd", "unshare")
HOME = Path(pwd.getpwuid(os.geteuid()).pw_dir)
"""Of the user on every host; ssh takes this one, whatever the variable says."""
CHECKOUT = "bridge-retrieval"
"""Where clusters/onprem.yaml puts the checkout, in the home of its user."""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def what_is_missing() -> str:
    """Why hosts cannot be made here; empty where they can."""
    if os.geteuid():
        return "only root makes network namespaces"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"needs {', '.join(missing)} (iproute2, openssh-server, rsync, make, util-linux)"
    probe = f"bridge-probe-{os.getpid()}"
    if _quiet("ip", "netns", "add", probe):
        return "this machine does not let root make network namespaces"
    _quiet("ip", "netns", "del", probe)
    return ""


@dataclass(frozen=True)
class Host:
    """One of them; `name` is its network namespace too."""

    name: str
    address: str
    folder: Path

    @property
    def link(self) -> str:
        """Its end of the network that this machine sees."""
        return f"v{self.name}"

    def processes(self) -> list[psutil.Process]:
        """All that runs on it."""
        listed = subprocess.run(
            [_program("ip"), "netns", "pids", self.name], capture_output=True, text=True
        )
        found = []
        for pid in listed.stdout.split():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found

    def running(self, title: str) -> list[psutil.Process]:
        """Its processes whose command line has `title` in it."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if title in " ".join(process.cmdline()):
                    found.append(process)
        return found


class Network:
    """So many hosts behind one bridge, managed from this machine.

    Attributes:
        folder: all that they write, outside /tmp; `store` in it is their common disk.
        key: what opens every host.
        hosts: in the order of their addresses.
    """

    def __init__(self, size: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-hosts-", dir="/var/tmp"))
        self.key = self.folder / "key"
        self.store = self.folder / "store"
        self._tag = f"b{os.getpid() % 10**6}"
        self._subnet = f"10.77.{os.getpid() % 250}"
        self._shells: dict[str, subprocess.Popen[bytes]] = {}
        self._managing: dict[subprocess.Popen[str], Path] = {}
        self._made_run_sshd = False
        self.hosts = [
            Host(f"{self._tag}-{n}", f"{self._subnet}.{n}", self.folder / f"host{n}")
            for n in range(1, size + 1)
        ]

    def up(self) -> None:
        """Make the network, a home for every host and for the manager, and start all hosts."""
        for key in (self.key, self.folder / "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        self.store.mkdir()
        names = "".join(f"{host.address} {host.name}\n" for host in self.hosts)
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        (self.folder / "resolv.conf").write_text("")
        (self.folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        if not Path("/run/sshd").exists():
            Path("/run/sshd").mkdir()
            self._made_run_sshd = True
        _run("ip", "link", "add", self._tag, "type", "bridge")
        _run("ip", "address", "add", f"{self._subnet}.254/24", "dev", self._tag)
        _run("ip", "link", "set", self._tag, "up")
        _make_home(self.folder / "manager")
        for host in self.hosts:
            _make_home(host.folder)
            _run("ip", "netns", "add", host.name)
            _run("ip", "link", "add", host.link, "type", "veth", "peer", "eth0", "netns", host.name)
            _run("ip", "link", "set", host.link, "master", self._tag, "up")
            inside = ("ip", "-netns", host.name)
            _run(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run(*inside, "link", "set", device, "up")
            # Ray finds its own address by asking which one it would leave by.
            _run(*inside, "route", "add", "default", "via", f"{self._subnet}.254")
            self.start(host)

    def start(self, host: Host) -> None:
        """Boot a host that does not run; returns when it can be logged into."""
        _run("ip", "link", "set", host.link, "up")
        options = {
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "StrictModes": "no",
            "UsePAM": "no",
            "PidFile": "none",
            # An environment of another checkout may be lent to this one.
            "SetEnv": f"PYTHONPATH={HOME / CHECKOUT}",
        }
        server = [_program("sshd"), "-D", "-e", "-f", "/dev/null", "-p", "22"]
        server += [word for pair in options.items() for word in ("-o", "{}={}".format(*pair))]
        mounts = {
            **_own_folders(host.folder),
            self.folder / "hosts": "/etc/hosts",
            self.folder / "resolv.conf": "/etc/resolv.conf",
        }
        booting = f"hostname {host.name}; mount -t tmpfs tmpfs /dev/shm; {_mounting(mounts)}"
        apart = ["unshare", "--pid", "--fork", "--mount", "--uts", "--mount-proc", "--kill-child"]
        with (host.folder / "sshd.log").open("ab") as log:
            self._shells[host.name] = subprocess.Popen(
                [_program("ip"), "netns", "exec", host.name, *apart]
                + ["bash", "-ec", f'{booting}; exec "$@"', "boot", *server],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: _answers(host.address))

    def lose(self, host: Host) -> None:
        """Cut its power: the network first, so that nobody is told that its processes end."""
        _run("ip", "link", "set", host.link, "down")
        self._kill(host)

    def manage(
        self, command: Sequence[str], settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on the machine that the hosts are managed from, in the checkout."""
        log = self.folder / "manager" / f"{len(self._managing)}.log"
        environment = os.environ | {
            "HOME": str(HOME),
            "PATH": f"{Path(sys.executable).parent}:{_PATH}",
            "PYTHONPATH": str(ROOT),
            **(settings or {}),
        }
        own = _mounting(_own_folders(self.folder / "manager"))
        with log.open("w") as output:
            process = subprocess.Popen(
                ["unshare", "--mount", "bash", "-ec", f'{own}; exec "$@"', "manage", *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self._managing[process] = log
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        """What such a command has printed; it must end well."""
        code = process.wait()
        output = self._managing[process].read_text()
        assert code == 0, output[-5000:]
        return output

    def down(self) -> None:
        """End and remove all of it, whatever has become of it."""
        for process in self._managing:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for host in self.hosts:
            self._kill(host)
            _quiet("ip", "netns", "del", host.name)
        _quiet("ip", "link", "del", self._tag)
        if self._made_run_sshd:
            with contextlib.suppress(OSError):
                Path("/run/sshd").rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self, host: Host) -> None:
        def gone() -> bool:
            running = host.processes()
            for process in running:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            return not running

        wait_until(gone)
        if (shell := self._shells.pop(host.name, None)) is not None:
            shell.kill()
            shell.wait()


@contextlib.contextmanager
def network(size: int) -> Iterator[Network]:
    """A network of so many hosts, of which nothing is left at the end."""
    made = Network(size)
    try:
        made.up()
        yield made
    finally:
        made.down()


def _make_home(folder: Path) -> None:
    """The files of a new user, and the running environment in place of one that set-up makes."""
    (folder / "tmp").mkdir(parents=True)
    home = folder / "home"
    if Path("/etc/skel").is_dir():
        shutil.copytree("/etc/skel", home)
    lent = home / CHECKOUT / ".venv"
    lent.mkdir(parents=True)
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (lent / part.name).symlink_to(part)
    # Newer than what it is made of, so that `make setup` has nothing to do.
    (lent / ".ready").touch()


def _own_folders(folder: Path) -> dict[Path, str]:
    """What to mount where for a private /tmp and home, which still have the code that runs."""
    mounts = {}
    for place, own in ((Path("/tmp"), folder / "tmp"), (HOME, folder / "home")):
        for path in {ROOT, Path(sys.prefix), Path(sys.base_prefix)}:
            if path.is_relative_to(place):
                inside = own / path.relative_to(place)
                inside.mkdir(parents=True, exist_ok=True)
                mounts[path] = str(inside)
    return {**mounts, folder / "tmp": "/tmp", folder / "home": str(HOME)}


def _mounting(mounts: Mapping[Path, str]) -> str:
    return "; ".join(f"mount --rbind {source} {target}" for source, target in mounts.items())


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, 22), 1).close()
    except OSError:
        return False
    return True


def _program(name: str) -> str:
    return shutil.which(name, path=_PATH) or name


def _run(name: str, *arguments: str) -> None:
    subprocess.run([_program(name), *arguments], check=True)


def _quiet(name: str, *arguments: str) -> int:
    return subprocess.run([_program(name), *arguments], capture_output=True).returncode
