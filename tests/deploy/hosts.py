"""Containers without an engine: a process in a network namespace, on a root of its own, with the rights that were described.

The root is an empty file system with the programs of this machine in it, and what the description mounts. Names are in
/etc/hosts, for those who share a network. The processes of the nodes, of PostgreSQL and of the balancer are the real ones.
"""

import atexit
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEADLINE = 60.0
# The user of the official image, and of the Debian package that stands for it.
IMAGE_POSTGRES = 999


def wait_for(what, condition, deadline=DEADLINE):
    """What a condition comes to; waits for it no longer than the deadline."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if (value := condition()) is not None:
            return value
        time.sleep(0.02)
    raise AssertionError(f"still not so after {deadline:.0f} s: {what}")


def scratch(name):
    folder = Path(tempfile.mkdtemp(prefix=f"handstamp-{name}-"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def binary():
    file = Path(os.environ.get("HANDSTAMP_BIN", ROOT / "target/release/handstamp")).resolve()
    if not file.is_file():
        sys.exit(f"{file} is missing: cargo build --release, or name the binary in HANDSTAMP_BIN")
    return file


def image():
    """What the Dockerfile says of the image of a node."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2])
    said = dict(line.split(None, 1) for line in text.splitlines()[1:] if line and not line.startswith("#"))
    env = dict(item.split("=", 1) for item in said["ENV"].split())
    user, group = said["USER"].split(":")
    return {
        "entrypoint": eval(said["ENTRYPOINT"]), "command": eval(said["CMD"]), "env": env,  # noqa: S307 (lists of strings)
        "user": (int(user), int(group)), "port": int(said["EXPOSE"]), "data": said["VOLUME"],
    }


def config_check(env, toml=""):
    """What the binary's own table of keys says of such an environment: exit code and words. Secrets are made up."""
    folder = scratch("check")
    key = subprocess.check_output([binary(), "keys", "generate"], text=True, stderr=subprocess.DEVNULL)
    secrets = {"store-url": "postgres://a:b@db/c", "access-key": key, "master-key": "5a" * 32}
    given = {"PATH": os.environ["PATH"]}
    for name, value in env.items():
        if name.endswith("_FILE"):
            file = folder / Path(value).name
            file.write_text(secrets[file.name])
            file.chmod(0o600)
            value = str(file)
        given[name] = value
    (folder / "handstamp.toml").write_text(toml)
    done = subprocess.run([binary(), "config", "check"], cwd=folder, env=given, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{shlex.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def prepare():
    """Once, before anything else: names of networks must not be seen by, or come from, the rest of the machine."""
    Path("/run/netns").mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "netns", "/run/netns")
    run("ip", "link", "set", "lo", "up")


class Network:
    """A switch; the cases stand at its first address."""

    count = 0

    def __init__(self, subnet):
        Network.count += 1
        self.name, self.members = f"br{Network.count}", []
        self.prefix = subnet.rsplit(".", 1)[0]
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "address", "add", f"{self.prefix}.1/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")

    def remove(self):
        run("ip", "link", "delete", self.name)


@dataclass
class Mount:
    target: str
    # A file or folder of this machine; without it an empty file system in memory.
    source: Path | None = None
    options: str = ""
    read_only: bool = False


@dataclass
class Container:
    """What is described; `names` are by what it is reached on all of its networks."""

    name: str
    kind: str
    command: list
    env: dict
    user: tuple
    networks: list
    names: list
    mounts: list = field(default_factory=list)
    capabilities: list = field(default_factory=list)
    read_only: bool = True
    no_new_privileges: bool = True
    child = None

    def __post_init__(self):
        self.folder = scratch(self.name)
        self.log = self.folder / "log.txt"
        self.addresses = []
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        for network in self.networks:
            network.members.append(self)
            address, link = f"{network.prefix}.{len(network.members) + 1}", f"{network.name}v{len(network.members)}"
            device = f"eth{len(self.addresses)}"
            run("ip", "link", "add", link, "type", "veth", "peer", "name", device, "netns", self.name)
            run("ip", "link", "set", link, "master", network.name, "up")
            run("ip", "-n", self.name, "address", "add", f"{address}/24", "dev", device)
            run("ip", "-n", self.name, "link", "set", device, "up")
            self.addresses.append(address)
        if self.user[0] == IMAGE_POSTGRES and self.kind == "postgres":
            postgres = pwd.getpwnam("postgres")
            self.user = (postgres.pw_uid, postgres.pw_gid)

    @property
    def address(self):
        return self.addresses[0]

    def hosts(self):
        lines = ["127.0.0.1 localhost"]
        for network in self.networks:
            for member in network.members:
                at = member.addresses[member.networks.index(network)]
                lines.append(" ".join([at, *member.names]))
        return "\n".join(lines) + "\n"

    def setup(self):
        """The shell script that lays out the root, and becomes the program."""
        root = self.folder / "root"
        etc = self.folder / "etc"
        shutil.rmtree(etc, ignore_errors=True)
        etc.mkdir()
        for name in ["passwd", "group", "ld.so.cache", "localtime"]:
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), etc / name)
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        (etc / "hosts").write_text(self.hosts())
        for below in ["ssl", "postgresql-common"]:
            (etc / below).mkdir()
        root.mkdir(exist_ok=True)
        programs = {"handstamp": binary(), "caddy": Path(os.environ.get("HANDSTAMP_DEPLOY", "/usr"), "bin/caddy")}
        if self.kind not in programs:
            programs = {}
        q = shlex.quote
        lines = [
            "set -e", f"cd {q(str(root))}", "mount -t tmpfs root . -o mode=0755", f"cd {q(str(root))}",
            "mkdir usr etc dev proc tmp run var", "chmod 1777 tmp",
            "for link in bin sbin lib lib64; do ln -s usr/$link $link; done",
            "mount --rbind /usr usr", "mount -t tmpfs local usr/local -o mode=0755", "mkdir usr/local/bin",
            f"mount --bind {q(str(etc))} etc", "mount --rbind /dev dev", "mount --bind /proc proc",
            "mount -t tmpfs shm dev/shm -o mode=1777",
        ]
        if Path("/etc/ssl/certs").is_dir():
            lines.append("mount --bind /etc/ssl etc/ssl")
        for name, file in programs.items():
            if name == self.kind:
                lines += [f"touch usr/local/bin/{name}", f"mount --bind {q(str(file.resolve()))} usr/local/bin/{name}"]
        if self.kind == "postgres":
            lines += ["touch usr/local/bin/entrypoint", f"mount --bind {q(str(HERE / 'postgres.sh'))} usr/local/bin/entrypoint"]
        for mount in self.mounts:
            at = q(mount.target.lstrip("/"))
            if mount.source is None:
                options = f"-o {q(mount.options)}" if mount.options else "-o mode=1777"
                lines += [f"mkdir -p {at}", f"mount -t tmpfs none {at} {options}"]
                continue
            make = f"mkdir -p {at}" if mount.source.is_dir() else f"mkdir -p $(dirname {at}); touch {at}"
            lines += [make, f"mount --bind {q(str(mount.source))} {at}"]
            if mount.read_only:
                lines.append(f"mount -o remount,bind,ro {at}")
        if self.read_only:
            # Of the root alone: what is mounted in it keeps its own mode, as it does under an engine.
            lines += [f"mount -o remount,ro,bind {part}" for part in ("usr", "etc", "usr/local", ".")]
        lines.append(f"exec chroot . {self.program()}")
        return "\n".join(lines)

    def rights(self):
        """setpriv and its arguments: user, capabilities, and that there will be no more."""
        bounds = ",".join(["-all", *(f"+{name.lower()}" for name in self.capabilities)])
        rights = ["setpriv", "--pdeathsig", "KILL", f"--reuid={self.user[0]}", f"--regid={self.user[1]}", "--clear-groups",
                  "--inh-caps=-all", f"--bounding-set={bounds}"]
        return [*rights, "--no-new-privs"] if self.no_new_privileges else rights

    def program(self):
        path = "PATH=/usr/local/bin:/usr/bin:/usr/sbin"
        first = ["/usr/local/bin/entrypoint"] if self.kind == "postgres" else []
        env = [f"{name}={value}" for name, value in self.env.items()]
        return shlex.join(["/usr/bin/env", "-i", path, *env, *self.rights(), *first, *self.command])

    def start(self):
        with open(self.log, "ab") as log:
            command = ["ip", "netns", "exec", self.name, "unshare", "--mount", "--propagation", "private", "sh", "-c", self.setup()]
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        atexit.register(self.kill)
        return self

    def inside(self, *command):
        """A program beside the container's own, as `docker exec` and the probes run it: its exit code and what it said."""
        if self.child.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.child.returncode}; it said:\n{self.said()}")
        env = [f"{name}={value}" for name, value in self.env.items()]
        enter = ["nsenter", "--target", str(self.child.pid), "--mount", "--net", "--root", "--wd", "/usr/bin/env", "-i",
                 "PATH=/usr/local/bin:/usr/bin:/usr/sbin:" + ":".join(map(str, Path("/usr/lib/postgresql").glob("*/bin")))]
        done = subprocess.run([*enter, *env, *self.rights(), *command], capture_output=True, text=True, timeout=DEADLINE)
        return done.returncode, done.stdout + done.stderr

    def wait(self, what, condition, deadline=DEADLINE):
        def alive():
            if self.child.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.child.returncode}; it said:\n{self.said()}")
            return condition()

        try:
            return wait_for(what, alive, deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.name} said:\n{self.said()}") from None

    def healthy(self, *command):
        self.wait(f"{self.name}: {shlex.join(command)}", lambda: True if self.inside(*command)[0] == 0 else None)

    def stop(self, sent=signal.SIGTERM, patience=20):
        """Asks it to leave; how it left."""
        if self.child.poll() is None:
            self.child.send_signal(sent)
        return self.child.wait(patience)

    def kill(self):
        if self.child and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def said(self):
        return self.log.read_text(errors="replace")[-4000:]

    def remove(self):
        self.kill()
        run("ip", "netns", "delete", self.name)
