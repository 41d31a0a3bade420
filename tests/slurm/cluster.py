"""A real SLURM on this machine: a controller and two nodes with two stand-in GPUs each; with accounting if wanted.

By hand: `python tests/slurm/cluster.py up DIR [--accounting]` prints what to export; `… down DIR` stops it.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "munged")
NEEDED_FOR_ACCOUNTING = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db", "mariadb")
NODES = ("node1", "node2")

CONF = """\
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# Credentials that expire soon keep the delay before a requeued job starts again at seconds.
AuthInfo=socket={folder}/munge.sock,cred_expire=5
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
# The nodes are what this file says, whatever the machine has.
SlurmdParameters=config_overrides
SlurmdSpoolDir={folder}/spool.%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_interval=5,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
JobRequeue=1
GresTypes=gpu
KillWait=5
# A dead node is noticed after this many seconds.
SlurmdTimeout=8
MinJobAge=3600
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=10
AccountingStorageType={accounting}
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[1]}
AccountingStoragePass={folder}/munge.sock
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=3 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[3]} CPUs=3 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[1]}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""

DATABASE = """\
create database if not exists slurm_acct_db;
create user if not exists slurm@'127.0.0.1' identified by 'slurm';
grant all on slurm_acct_db.* to slurm@'127.0.0.1'
"""


def missing(accounting: bool = False) -> list[str]:
    """Programs that are not installed."""
    return [name for name in NEEDED + (NEEDED_FOR_ACCOUNTING if accounting else ()) if _which(name) is None]


class Cluster:
    """The cluster's daemons, each known by its pid file in `folder`."""

    def __init__(self, folder: Path, accounting: bool = False):
        self.folder, self.accounting = folder, accounting

    @property
    def environment(self) -> dict[str, str]:
        """Variables for programs that use this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def up(self) -> None:
        """Write the configuration and start everything; returns when both nodes are idle."""
        for name in ("state", "spool.node1", "spool.node2"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        values = {
            "folder": self.folder,
            "user": getpass.getuser(),
            "ports": _free_ports(5),
            "accounting": f"accounting_storage/{'slurmdbd' if self.accounting else 'none'}",
        }
        (self.folder / "slurm.conf").write_text(CONF.format(**values))
        # A GPU has to be a character device that exists.
        (self.folder / "gres.conf").write_text("NodeName=node[1-2] Name=gpu File=/dev/null,/dev/zero\n")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self.folder.chmod(0o755)  # munged refuses a socket in a private folder
        self.run(
            "munged", f"--socket={self.folder}/munge.sock", f"--key-file={key}", f"--log-file={self.folder}/munged.log",
            f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munged.seed", "--force",
        )  # fmt: skip
        if self.accounting:
            self._start_accounting(values)
        self.run("slurmctld")
        for node in NODES:
            self.start_node(node)
        _until(lambda: self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() == list(NODES), "both nodes idle")

    def down(self) -> None:
        """Stop what `up` started, also where only part of it came up."""
        if (self.folder / "slurmctld.pid").exists():
            subprocess.run(["scancel", f"--user={getpass.getuser()}"], env=self._env(), check=False, timeout=60)
        for name in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "slurmdbd", "mysql", "munged"):
            self._stop(name)

    def start_node(self, node: str) -> None:
        """Start a node's slurmd; returns when the controller gives it work again."""
        self.run("slurmd", "-N", node)
        usable = ("idle", "mix", "alloc")
        _until(lambda: self.run("sinfo", "-h", "-N", "-n", node, "-o", "%t").strip() in usable, f"{node} to be usable")

    def kill_node(self, node: str) -> None:
        """A node dies: its slurmd is gone from one moment to the next."""
        self._stop(f"slurmd.{node}", signal.SIGKILL)

    def run(self, *command: str) -> str:
        """Run one of SLURM's commands; its output."""
        done = subprocess.run(
            [_which(command[0]) or command[0], *command[1:]],
            env=self._env(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def _start_accounting(self, values: dict[str, object]) -> None:
        data, sock = self.folder / "mysql", self.folder / "mysql.sock"
        user = f"--user={getpass.getuser()}"
        self.run(
            "mariadb-install-db", "--no-defaults", user, f"--datadir={data}", "--skip-test-db",
            "--auth-root-authentication-method=socket", f"--auth-root-socket-user={getpass.getuser()}",
        )  # fmt: skip
        ports = values["ports"]
        assert isinstance(ports, list)
        with (self.folder / "mysql.log").open("w") as log:
            subprocess.Popen(
                [
                    _which("mariadbd") or "mariadbd", "--no-defaults", user, f"--datadir={data}", f"--socket={sock}",
                    f"--pid-file={self.folder}/mysql.pid", "--bind-address=127.0.0.1", f"--port={ports[4]}",
                    "--skip-name-resolve", "--innodb-buffer-pool-size=64M",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        _until(lambda: self._works("mariadb", "--no-defaults", user, "-S", str(sock), "-e", "select 1"), "MariaDB")
        self.run("mariadb", "--no-defaults", user, "-S", str(sock), "-e", DATABASE)
        conf = self.folder / "slurmdbd.conf"
        conf.write_text(DBD_CONF.format(**values))
        conf.chmod(0o600)
        self.run("slurmdbd")  # reads slurmdbd.conf beside $SLURM_CONF
        _until(lambda: self._works("sacctmgr", "-n", "list", "cluster"), "slurmdbd")
        self.run("sacctmgr", "-i", "-n", "add", "cluster", "lab")

    def _works(self, *command: str) -> bool:
        try:
            self.run(*command)
        except RuntimeError:
            return False
        return True

    def _stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        file = self.folder / f"{name}.pid"
        if not file.exists() or not file.read_text().strip():
            return
        pid = int(file.read_text())
        try:
            os.kill(pid, how)
            _until(lambda: not _alive(pid), f"the end of {name}", seconds=20)
        except ProcessLookupError:
            pass  # it ended by itself
        file.unlink(missing_ok=True)


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    there = Cluster(Path(sys.argv[2]).absolute(), "--accounting" in sys.argv)
    if sys.argv[1] == "up":
        there.up()
        print(f"export SLURM_CONF={there.environment['SLURM_CONF']} PATH=$PATH:/usr/sbin:/sbin")
    else:
        there.down()
