"""The chart: as Helm and Kubernetes have it, and two Pods of it running on the PostgreSQL that it includes."""

import base64
import copy
import re
import secrets
import subprocess
import unittest

import helm_python as helm
import hosts
import kubernetes_validate
import yaml
from hosts import Container, Mount, Network, ROOT
from together import Together, status

CHART = ROOT / "deploy/helm/handstamp"
# The oldest that the chart takes, and the newest whose schemas are at hand.
VERSIONS = ("1.30", "1.37")
EVERYTHING = {
    "replicas": 3,
    "spread": "required",
    "config": "[policy.default]\nidle_timeout = \"12h\"\n",
    "env": {"HANDSTAMP_HISTORY__RETENTION": "90d"},
    "trustedProxies": ["10.0.0.0/8", "::1"],
    "image": {"repository": "registry.example.org/handstamp", "tag": "1", "pullSecrets": [{"name": "registry"}]},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "reserved", "operator": "Exists"}],
    "podAnnotations": {"example.org/a": "b"},
    "service": {"type": "LoadBalancer", "port": 80, "annotations": {"example.org/c": "d"}},
    "networkPolicy": {"metrics": [{"namespaceSelector": {}}], "store": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "storePorts": [6432]},
    "postgresql": {"enabled": True, "storage": {"className": "fast"}, "tlsSecret": "postgresql-tls"},
}


def rendered(values, release="handstamp"):
    """All objects, by kind and name, and the notes."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=release, namespace="shop")
    notes = next(text for name, text in files.items() if name.endswith("NOTES.txt"))
    documents = [document for name, text in files.items() if not name.endswith("NOTES.txt")
                 for document in yaml.safe_load_all(text) if document]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in documents}, notes


def variables(values):
    """Of a node."""
    return rendered(values)[0]["Deployment/handstamp"]["spec"]["template"]["spec"]["containers"][0]["env"]


class Described(unittest.TestCase):
    def test_helm_finds_nothing_wrong(self):
        found = helm.lint(str(CHART))
        self.assertEqual(found["errors"], [])
        # An icon would be looked for on the network.
        self.assertEqual([one["error"] for one in found["messages"]], ["icon is recommended"])

    def test_kubernetes_accepts_all_that_it_makes(self):
        for values in ({}, {"networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}}, EVERYTHING,
                       {"postgresql": {"enabled": True}}):
            objects, _ = rendered(values)
            for name, one in objects.items():
                for version in VERSIONS:
                    with self.subTest(name, version=version):
                        kubernetes_validate.validate(one, version, strict=True)

    def test_a_wrong_field_would_be_refused(self):
        objects, _ = rendered({})
        wrong = copy.deepcopy(objects["Deployment/handstamp"])
        wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)

    def test_a_misspelt_value_and_a_secret_in_the_values_are_refused(self):
        for values in ({"replica": 2}, {"replicas": 0}, {"secret": ""}, {"env": {"LOG_LEVEL": "debug"}}, {"cache": "lots"},
                       {"env": {"HANDSTAMP_SERVER__MASTER_KEY": "00"}}, {"env": {"HANDSTAMP_STORE__URL": "postgres://a:b@c/d"}}):
            with self.subTest(str(values)), self.assertRaises(helm.HelmError):
                rendered(values)

    def test_no_variable_is_there_twice(self):
        set_by_it = [one["name"] for one in variables(EVERYTHING)]
        self.assertEqual(len(set(set_by_it)), len(set_by_it))
        for name in set(set_by_it) - set(EVERYTHING["env"]):
            values = {"env": {name: "text"}}
            with self.subTest(name):
                if name == "HANDSTAMP_LOG__FORMAT":
                    self.assertEqual([one["value"] for one in variables(values) if one["name"] == name], ["text"])
                else:
                    self.assertRaises(helm.HelmError, rendered, values)

    def test_nobody_who_may_connect_is_not_everybody(self):
        # To Kubernetes an empty list of peers is everybody; with null the default is gone.
        for clients in ([], None):
            with self.subTest(clients), self.assertRaises(helm.HelmError):
                rendered({"networkPolicy": {"clients": clients}})
        for name, one in rendered(EVERYTHING)[0].items():
            for rule in one["spec"]["ingress"] if name.startswith("NetworkPolicy/") else ():
                self.assertTrue(rule["from"], name)

    def test_it_makes_no_secret_and_names_all_that_it_needs(self):
        for values in ({}, EVERYTHING):
            objects, notes = rendered({**values, "tolerations": []})
            self.assertFalse([name for name in objects if name.startswith("Secret/")])
            used = set(re.findall(r"key: ([a-z-]+)", yaml.safe_dump_all(objects.values())))
            for key in used - {"store-ca"}:
                self.assertIn(key, notes)
                self.assertIn(key, (CHART / "README.md").read_text())

    def test_nodes_are_spread_and_may_be_away_one_at_a_time(self):
        objects, _ = rendered({})
        spec = objects["Deployment/handstamp"]["spec"]
        self.assertEqual(spec["replicas"], 2)
        self.assertEqual(spec["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})
        labels = spec["template"]["metadata"]["labels"]
        selectors = [spec["selector"], objects["PodDisruptionBudget/handstamp"]["spec"]["selector"],
                     objects["NetworkPolicy/handstamp"]["spec"]["podSelector"], {"matchLabels": objects["Service/handstamp"]["spec"]["selector"]}]
        away = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        selectors += [term["podAffinityTerm"]["labelSelector"] for term in away]
        for selector in selectors:
            self.assertLessEqual(selector["matchLabels"].items(), labels.items())
        spec = rendered(EVERYTHING)[0]["Deployment/handstamp"]["spec"]
        # With one on each machine there is no room for one more.
        self.assertEqual(spec["strategy"]["rollingUpdate"], {"maxSurge": 0, "maxUnavailable": 1})

    def test_pods_are_closed(self):
        objects, _ = rendered({"postgresql": {"enabled": True}})
        for name in ("Deployment/handstamp", "StatefulSet/handstamp-postgresql"):
            pod = objects[name]["spec"]["template"]["spec"]
            self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
            self.assertIs(pod["automountServiceAccountToken"], False)
            for one in pod["containers"]:
                self.assertEqual(one["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})

    def test_the_server_knows_every_variable(self):
        for values in ({}, EVERYTHING):
            objects, _ = rendered(values)
            node = objects["Deployment/handstamp"]["spec"]["template"]["spec"]["containers"][0]
            secret = {"HANDSTAMP_SERVER__MASTER_KEY": "5a" * 32}
            given = {one["name"]: one["value"] if "value" in one else secret[one["name"]] for one in node["env"]}
            code, said = hosts.config_check({**hosts.image()["env"], **given}, values.get("config", ""))
            self.assertEqual(code, 0, said)
            code, said = hosts.config_check({**given, "HANDSTAMP_CACHE__MAX_BITES": "1MiB"})
            self.assertEqual(code, 1, said)

    def test_the_pod_of_the_readme_is_one_and_may_reach_the_store(self):
        text = re.search(r"```yaml\n(# once.yaml\n.*?)```", (CHART / "README.md").read_text(), re.S)[1]
        pod = yaml.safe_load(text)
        for version in VERSIONS:
            kubernetes_validate.validate(pod, version, strict=True)
        objects, _ = rendered({"postgresql": {"enabled": True}})
        template = objects["Deployment/handstamp"]["spec"]["template"]
        allowed = objects["NetworkPolicy/handstamp-postgresql"]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
        self.assertLessEqual(allowed.items(), pod["metadata"]["labels"].items())
        known = [one["name"] for one in template["spec"]["containers"][0]["env"]]
        for one in pod["spec"]["containers"][0]["env"]:
            self.assertIn(one["name"], known)
        self.assertTrue(pod["spec"]["readinessGates"])

    def test_it_agrees_with_the_dockerfile(self):
        image = hosts.image()
        objects, _ = rendered({})
        pod = objects["Deployment/handstamp"]["spec"]["template"]["spec"]
        node = pod["containers"][0]
        self.assertEqual(node["args"], image["command"])
        self.assertEqual((pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]), image["user"])
        self.assertIn({"name": "http", "containerPort": image["port"]}, node["ports"])
        self.assertIn(image["data"], [mount["mountPath"] for mount in node["volumeMounts"]])
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))


def container(pod, name, objects, networks, secret, names, folder):
    """The one container of a Pod as a process."""
    image = hosts.image()
    one = pod["containers"][0]
    kind = "postgres" if one["name"] == "postgresql" else "handstamp"
    env = dict(image["env"]) if kind == "handstamp" else {}
    for variable in one["env"]:
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        env[variable["name"]] = secret[source["key"]] if source else variable["value"]
    mounts = []
    for mount in one["volumeMounts"]:
        volume = next((volume for volume in pod["volumes"] if volume["name"] == mount["name"]), None)
        kept = folder / name / mount["name"]
        kept.mkdir(parents=True)
        user, group = pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]
        if volume and "emptyDir" in volume:
            # As a kubelet makes it: for everybody, with the group of the Pod.
            mounts.append(Mount(mount["mountPath"], options=f"mode=2777,gid={group}" if kind == "handstamp" else ""))
            continue
        if volume and "configMap" in volume:
            for file, text in objects[f"ConfigMap/{volume['configMap']['name']}"]["data"].items():
                (kept / file).write_text(text)
        elif volume:
            sources = volume["projected"]["sources"] if "projected" in volume else [volume]
            for source in sources:
                for item in source["secret"]["items"]:
                    if item["key"] in secret or not source["secret"].get("optional"):
                        file = kept / item["path"]
                        file.write_text(secret[item["key"]])
                        # As a kubelet does it: the files are root's, and the group's to read.
                        file.chmod(volume.get("projected", volume.get("secret"))["defaultMode"])
                        hosts.run("chown", f"0:{'postgres' if group == hosts.IMAGE_POSTGRES else group}", str(file))
        else:
            # A claim: the volume is root's, and the group's to write.
            hosts.run("chown", f"0:{'postgres' if group == hosts.IMAGE_POSTGRES else group}", str(kept))
            kept.chmod(0o2775)
        mounts.append(Mount(mount["mountPath"], kept, read_only=mount.get("readOnly", False)))
    first = image["entrypoint"] if kind == "handstamp" else []
    return Container(name=name, kind=kind, command=[*first, *one["args"]], env=env, user=(user, group), networks=networks,
                     names=names, mounts=mounts, read_only=one["securityContext"]["readOnlyRootFilesystem"])


class Running(Together, unittest.TestCase):
    """The Deployment's Pods and the StatefulSet's, with a Secret made by the commands of the chart's README."""

    @classmethod
    def setUpClass(cls):
        values = {"postgresql": {"enabled": True}, "config": EVERYTHING["config"], "env": EVERYTHING["env"]}
        objects, _ = rendered(values)
        folder = hosts.scratch("chart")
        cls.key = subprocess.check_output([hosts.binary(), "keys", "generate"], text=True, stderr=subprocess.DEVNULL).strip()
        password = secrets.token_hex(24)
        address = re.search(r'echo "(postgres://.*handstamp-postgresql.*)" > store-url', (CHART / "README.md").read_text())[1]
        secret = {"master-key": secrets.token_hex(32), "access-key": cls.key, "postgres-password": password,
                  "store-url": address.replace("$(cat postgres-password)", password)}
        # Values of a Secret travel in base64: none may depend on blanks around it.
        secret = {name: base64.b64decode(base64.b64encode(value.encode())).decode() for name, value in secret.items()}
        network = [Network("10.98.0.0/24")]
        store = objects["StatefulSet/handstamp-postgresql"]["spec"]["template"]["spec"]
        pod = objects["Deployment/handstamp"]["spec"]["template"]["spec"]
        service = objects["Service/handstamp-postgresql"]["metadata"]["name"]
        cls.store = container(store, "handstamp-postgresql-0", objects, network, secret, [service], folder)
        cls.probes = pod["containers"][0]
        count = objects["Deployment/handstamp"]["spec"]["replicas"]
        cls.nodes = [container(pod, f"pod{n}", objects, network, secret, [f"pod{n}"], folder) for n in range(count)]
        cls.store.start().healthy(*store["containers"][0]["readinessProbe"]["exec"]["command"])
        for node in cls.nodes:
            node.start()
        for node in cls.nodes:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                path = cls.probes[probe]["httpGet"]["path"]
                node.wait(f"{probe} of {node.name}", lambda: status(node.address, path) == 200 or None)

    @classmethod
    def tearDownClass(cls):
        for one in [*cls.nodes, cls.store]:
            one.remove()

    def test_the_rules_of_the_file_are_in_force(self):
        code, said = self.nodes[0].inside("/usr/local/bin/handstamp", "config", "show", "--origin", "--config", "/etc/handstamp/handstamp.toml")
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r'(?m)^policy\.default\.idle_timeout = "12h"\s+# /etc/handstamp/handstamp.toml')
        self.assertRegex(said, r'(?m)^history\.retention = "90d"\s+# HANDSTAMP_HISTORY__RETENTION')
        self.assertNotIn(self.key, said)

    def test_the_doctor_finds_nothing_that_is_broken(self):
        code, said = self.nodes[0].inside("/usr/local/bin/handstamp", "doctor")
        self.assertEqual(code, 0, said)

    def test_it_is_stopped_in_time(self):
        node = self.nodes[1]
        self.assertEqual(node.stop(patience=20), 0, node.said())
        node.start()
        node.wait("it is ready again", lambda: status(node.address, "/readyz") == 200 or None)
