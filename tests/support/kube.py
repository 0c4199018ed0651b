"""The cluster as a test sees it: writes by kubectl, as a user makes them; reads that may be repeated, over HTTP.

What only surrounds a test is written over HTTP as well: two cores have better to do than to start kubectl.
Must not know the operator; `space` does.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import pykube
import requests
from pytest_kind import KindCluster

from tests.support.spending import Spending, spending

Object = dict[str, Any]
Found = TypeVar("Found")

_GROUPS: Final = {
    "": ("pods", "services", "configmaps", "events", "namespaces", "nodes", "resourcequotas", "secrets"),
    "apps/v1": ("deployments", "replicasets", "statefulsets", "daemonsets"),
    "autoscaling/v2": ("horizontalpodautoscalers",),
    "coordination.k8s.io/v1": ("leases",),
    "discovery.k8s.io/v1": ("endpointslices",),
    "policy/v1": ("poddisruptionbudgets",),
    "apiextensions.k8s.io/v1": ("customresourcedefinitions",),
    "resilience.dev/v1alpha1": ("resilientservices", "alertreceivers"),
}
_PATIENCE: Final = 60.0
_BASE: Final = {
    plural: f"/apis/{group}" if group else "/api/v1" for group, plurals in _GROUPS.items() for plural in plurals
}


class KubectlError(AssertionError):
    """kubectl failed; the text is its output."""


def wait_until(probe: Callable[[], Found | None], *, what: str, timeout: float = 30.0, every: float = 0.2) -> Found:
    """The first result of `probe` that says something; an API that does not answer is requested again.

    None, False and an empty text say nothing: a field of status is often an empty text before it is known.

    Raises:
        AssertionError: it took longer than `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    with spending(Spending.CONDITION):
        while True:
            try:
                result = probe()
            except requests.RequestException:
                result = None
            if result is not None and result is not False and result != "":
                return result
            assert time.monotonic() < deadline, f"waited {timeout:g} s in vain for {what}"
            time.sleep(every)


class Kube:
    """One namespace, or, with an empty one, the objects outside of namespaces."""

    def __init__(self, cluster: KindCluster, namespace: str = "") -> None:
        self.cluster = cluster
        self.namespace = namespace
        # A client of its own: sessions must not be shared between threads.
        self._client = pykube.HTTPClient(cluster.api.config)

    def kubectl(self, *args: str, stdin: str = "") -> str:
        """Output of a command. Raises KubectlError with the output."""
        scope = ("--namespace", self.namespace) if self.namespace else ()
        try:
            with spending(Spending.COMMANDS):
                return str(self.cluster.kubectl(*scope, *args, input=stdin, stderr=subprocess.STDOUT))
        except subprocess.CalledProcessError as error:
            raise KubectlError(f"kubectl {' '.join(args)}: {error.output}") from error

    def apply(self, *objects: Object) -> None:
        """Applies objects as users do."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def patch(self, kind: str, name: str, patch: Object) -> None:
        """Applies a merge patch."""
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch))

    def delete(self, kind: str, name: str, *options: str) -> None:
        """Deletes and waits until the object is gone, unless the options say otherwise."""
        self.kubectl("delete", kind, name, "--timeout=60s", *options)

    def find(self, plural: str, name: str) -> Object | None:
        """One object, or None."""
        answer = self._get(f"{self._path(plural)}/{name}")
        return None if answer.status_code == 404 else self._json(answer)

    def get(self, plural: str, name: str) -> Object:
        """One object that must exist."""
        item = self.find(plural, name)
        assert item is not None, f"there is no {plural}/{name} in {self.namespace}"
        return item

    def list(self, plural: str, labels: str = "") -> list[Object]:
        """All objects, or those with these labels."""
        return list(self.collection(plural, labels)["items"])

    def collection(self, plural: str, labels: str = "") -> Object:
        """The list as the API returns it, with its version."""
        return self._json(self._get(self._path(plural), {"labelSelector": labels} if labels else {}))

    def text(self, path: str) -> str:
        """The text that the API server returns at that path."""
        answer = self._get(path)
        answer.raise_for_status()
        return str(answer.text)

    def watch(self, plural: str, version: str, *, seconds: int) -> Iterator[Object]:
        """Events since `version`, until the server ends the stream after so many seconds."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        with self._get(self._path(plural), query, stream=True, timeout=seconds + 5) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                yield json.loads(line)

    def make(self, plural: str, item: Object) -> None:
        """Creates an object."""
        url = f"{self._client.url}{self._path(plural)}"
        self._client.session.post(url, json=item, timeout=_PATIENCE).raise_for_status()

    def remove(self, plural: str, name: str = "") -> None:
        """Begins to delete one object, or all of them; what is gone or ending already is as it should be."""
        path = "/".join(filter(None, (self._path(plural), name)))
        answer = self._client.session.delete(f"{self._client.url}{path}", timeout=_PATIENCE)
        if answer.status_code not in (404, 409):
            answer.raise_for_status()

    def _path(self, plural: str) -> str:
        return f"{_BASE[plural]}{f'/namespaces/{self.namespace}' if self.namespace else ''}/{plural}"

    def _get(
        self, path: str, query: Mapping[str, str] | None = None, *, stream: bool = False, timeout: float = 10
    ) -> requests.Response:
        answer: requests.Response = self._client.session.get(
            f"{self._client.url}{path}", params=query, stream=stream, timeout=timeout
        )
        return answer

    @staticmethod
    def _json(answer: requests.Response) -> Object:
        answer.raise_for_status()
        body: Object = answer.json()
        return body
