"""The compose file: as the specification has it, and as it runs."""

import json
import os
import re
import shutil
import signal
import time
import unittest

import hosts
import yaml
from compose_spec import PyCompose
from hosts import Container, Mount, Network, ROOT, wait_for
from together import Together, ask, status

FOLDER = ROOT / "deploy/compose"
STARTED = ("postgres", "node1", "node2", "balancer")


def interpolated(text, variables):
    """`${NAME:-default}` is the only form that the file uses."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    done = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], text)
    assert "$" not in done, "a form of interpolation that Compose knows and this test does not"
    return done


def read(variables):
    """The file as Compose sees it after merging and interpolation."""
    return yaml.safe_load(interpolated((FOLDER / "compose.yaml").read_text(), variables))


class Described(unittest.TestCase):
    """What can be said without starting anything."""

    def setUp(self):
        self.file = read({})
        self.services = self.file["services"]

    def test_the_specification_accepts_it(self):
        PyCompose.from_json(json.dumps(self.file)).to_spec()

    def test_a_wrong_key_would_be_refused(self):
        self.services["node1"]["read_onyl"] = True
        with self.assertRaises(ValueError):
            PyCompose.from_json(json.dumps(self.file))

    def test_every_service_is_closed(self):
        for name, service in self.services.items():
            with self.subTest(name):
                self.assertIs(service["read_only"], True)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertEqual(service["restart"], "unless-stopped")
        for name in ("node1", "node2"):
            self.assertNotIn("cap_add", self.services[name])
            self.assertNotIn("ports", self.services[name])
            self.assertFalse(re.match(r"0(:|$)|root", self.services[name]["user"]))

    def test_only_the_loopback_is_published(self):
        published = {name: service["ports"] for name, service in self.services.items() if "ports" in service}
        self.assertEqual(published, {"balancer": ["127.0.0.1:7411:7411"]})

    def test_secrets_are_files_and_no_value_stands_in_it(self):
        for service in self.services.values():
            for name, value in service.get("environment", {}).items():
                if re.search("KEY|URL|PASSWORD", name):
                    self.assertTrue(name.endswith("_FILE") and value.startswith("/run/secrets/"), f"{name}={value}")
            for secret in service.get("secrets", []):
                self.assertEqual(self.file["secrets"][secret], {"file": f"./secrets/{secret}"})

    def test_the_server_knows_every_variable(self):
        for name in ("node1", "node2"):
            env = {**hosts.image()["env"], **self.services[name]["environment"]}
            code, said = hosts.config_check(env)
            self.assertEqual(code, 0, said)
            code, said = hosts.config_check({**env, "HANDSTAMP_CACHE__MAX_BITES": "1MiB"})
            self.assertEqual(code, 1, said)

    def test_it_agrees_with_the_dockerfile(self):
        image = hosts.image()
        for name in ("node1", "node2"):
            self.assertEqual(self.services[name]["command"], image["command"])
            self.assertEqual(self.services[name]["user"], "%d:%d" % image["user"])
            self.assertEqual((FOLDER / self.services[name]["build"]).resolve(), ROOT)
            self.assertTrue(self.services[name]["tmpfs"][0].startswith(image["data"] + ":"))
        upstreams = re.search(r"reverse_proxy (.*) \{", (FOLDER / "Caddyfile").read_text())[1].split()
        self.assertEqual(upstreams, [f"{name}:{image['port']}" for name in ("node1", "node2")])


def container(name, service, file, networks, folder):
    """A service as a process. Only images are replaced: ours by its Dockerfile, the others by the programs they hold."""
    image = hosts.image()
    kind = {"postgres": "postgres", "balancer": "caddy"}.get(name, "handstamp")
    env = {**(image["env"] if kind == "handstamp" else {}), **service.get("environment", {})}
    first = image["entrypoint"] if kind == "handstamp" else []
    user = tuple(map(int, service["user"].split(":"))) if "user" in service else (0, 0)
    mounts = [Mount(f"/run/secrets/{secret}", folder / file["secrets"][secret]["file"], read_only=True)
              for secret in service.get("secrets", [])]
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        kept = folder / source if source.startswith("./") else folder / "volumes" / source
        if not source.startswith("./"):
            kept.mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(target, kept, read_only=mode == ["ro"]))
    for place in service.get("tmpfs", []):
        target, _, options = place.partition(":")
        mounts.append(Mount(target, options=options))
    return Container(
        name=name, kind=kind, command=[*first, *service["command"]], env={n: str(v) for n, v in env.items()}, user=user,
        networks=[networks[network] for network in service["networks"]], names=[name], mounts=mounts,
        capabilities=service.get("cap_add", []), read_only=service["read_only"])


class Prepared(unittest.TestCase):
    """What ./prepare makes of what is there."""

    def prepare(self, folder):
        hosts.run("env", f"HANDSTAMP={hosts.binary()}", str(folder / "prepare"))
        return (folder / ".env").read_text()

    def test_what_env_says_already_stays_and_what_is_missing_is_added(self):
        added = "".join(f"HANDSTAMP_{what}=65532\n" for what in ("UID", "GID"))
        for name, before, after in (
            ("none", None, added),
            ("others", "HANDSTAMP_SITE=auth.example.org\n", "HANDSTAMP_SITE=auth.example.org\n" + added),
            ("unended", "# HANDSTAMP_UID=7\nHANDSTAMP_CACHE=1GiB", "# HANDSTAMP_UID=7\nHANDSTAMP_CACHE=1GiB\n" + added),
            ("one", "HANDSTAMP_UID=7\n", "HANDSTAMP_UID=7\nHANDSTAMP_GID=65532\n"),
        ):
            with self.subTest(name):
                folder = hosts.scratch(f"prepared-{name}")
                shutil.copy(FOLDER / "prepare", folder)
                if before is not None:
                    (folder / ".env").write_text(before)
                self.assertEqual(self.prepare(folder), after)
                self.assertEqual(self.prepare(folder), after)


class Running(Together, unittest.TestCase):
    """All services of the file, with the secrets of ./prepare, each healthy by its own check."""

    @classmethod
    def setUpClass(cls):
        cls.folder = hosts.scratch("compose")
        shutil.copytree(FOLDER, cls.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("secrets", ".env"))
        prepare = ["env", f"HANDSTAMP={hosts.binary()}", str(cls.folder / "prepare")]
        hosts.run(*prepare)
        made = {file.name: file.read_text() for file in (cls.folder / "secrets").iterdir()}
        # Again: nothing may change, or everybody would be logged out.
        hosts.run(*prepare)
        assert made == {file.name: file.read_text() for file in (cls.folder / "secrets").iterdir()}
        assert all(file.stat().st_mode & 0o077 == 0 for file in (cls.folder / "secrets").iterdir())
        cls.key = made["access-key"].strip()
        variables = dict(line.split("=", 1) for line in (cls.folder / ".env").read_text().split())
        file = read(variables)
        subnet = file["networks"]["front"]["ipam"]["config"][0]["subnet"]
        networks = {"front": Network(subnet), "store": Network("10.99.0.0/24")}
        cls.services = file["services"]
        cls.containers = {
            name: container(name, cls.services[name], file, networks, cls.folder) for name in cls.services
        }
        for name in STARTED:
            cls.containers[name].start()
            if name == "postgres":
                cls.wait_healthy("postgres")
        cls.wait_healthy("node1")
        cls.wait_healthy("node2")
        cls.nodes = [cls.containers["node1"], cls.containers["node2"]]
        cls.front = cls.containers["balancer"].address
        cls.containers["balancer"].wait("it leads to a node", lambda: status(cls.front, "/readyz") == 200 or None)

    def setUp(self):
        # What another case left behind is no concern of this one.
        for name in STARTED:
            if self.containers[name].child.poll() is not None:
                self.containers[name].start()
                if name != "balancer":
                    self.wait_healthy(name)

    @classmethod
    def wait_healthy(cls, name):
        kind, *command = cls.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        cls.containers[name].healthy(*command)

    @classmethod
    def tearDownClass(cls):
        for one in cls.containers.values():
            one.remove()

    def test_what_is_not_for_everybody_cannot_be_reached(self):
        self.assertEqual(status(self.front, "/metrics"), 404)
        for name, there in (("node1", 0), ("balancer", 1)):
            reach = "exec 3<>/dev/tcp/postgres/5432"
            self.assertEqual(min(1, self.containers[name].inside("bash", "-c", reach)[0]), there, name)

    def test_one_node_may_fall_and_nobody_notices(self):
        token = self.create(self.front)
        for fallen in self.nodes:
            before = time.monotonic()
            while time.monotonic() - before < 1.0:
                self.assertTrue(self.verdict(self.front, token)["valid"])
            fallen.kill()
            before = time.monotonic()
            while time.monotonic() - before < 3.0:
                self.assertTrue(self.verdict(self.front, token)["valid"])
                # Another user each time: the default policy lets one have ten sessions.
                self.create(self.front, f"ada-{time.monotonic_ns()}")
            fallen.start()
            self.wait_healthy(fallen.name)
            self.assertTrue(self.verdict(fallen.address, token)["valid"])

    def test_both_nodes_get_requests(self):
        def served(node):
            page = ask(node.address, "GET", "/metrics", port=7413).body
            return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
                       if line.startswith("handstamp_verdicts_total{"))

        # One that has just come back is asked again as soon as the balancer has seen it.
        wait_for("both are in use", lambda: self.spread(served))

    def spread(self, served):
        token = self.create(self.front)
        before = [served(node) for node in self.nodes]
        for _ in range(50):
            self.assertTrue(self.verdict(self.front, token)["valid"])
        gained = [served(node) - old for node, old in zip(self.nodes, before)]
        return True if min(gained) > 0 and sum(gained) >= 50 else None

    def test_without_postgresql_it_says_so_and_comes_back_with_it(self):
        token = self.create(self.front)
        postgres = self.containers["postgres"]
        self.assertEqual(postgres.stop(getattr(signal, self.services["postgres"]["stop_signal"]), 60), 0)
        for node in self.nodes:
            wait_for(f"{node.name} is not ready", lambda: status(node.address, "/readyz") == 503 or None)
            self.assertEqual(status(node.address, "/livez"), 200)
            answer = ask(node.address, "POST", "/v1/sessions/validate", self.key, {"token": token})
            self.assertEqual((answer.status, answer.json()["code"]), (503, "store_unavailable"))
        postgres.start()
        self.wait_healthy("postgres")
        back = time.monotonic()
        for node in self.nodes:
            wait_for(f"{node.name} is ready", lambda: status(node.address, "/readyz") == 200 or None, 5)
            self.assertTrue(self.verdict(node.address, token)["valid"])
        self.assertLess(time.monotonic() - back, 5.0)
        wait_for("the balancer leads to it again", lambda: status(self.front, "/readyz") == 200 or None)

    def test_nodes_are_stopped_in_time(self):
        grace = int(self.services["node2"]["stop_grace_period"].rstrip("s"))
        node = self.containers["node2"]
        self.assertEqual(node.stop(patience=grace), 0, node.said())
        node.start()
        self.wait_healthy("node2")
