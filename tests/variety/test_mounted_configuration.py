"""Ways in which pods get ConfigMaps and Secrets: `onChange` with `mounted` finds each of them in the template."""

import pytest

from resilience.api.restarts import ConfigKind
from resilience.core.model.workload import ConfigReference
from tests.variety import manifests

WAYS = {
    "volume": "volumes: [{name: v, configMap: {name: found}}]",
    "projected volume": "volumes: [{name: v, projected: {sources: [{configMap: {name: found}}]}}]",
    "envFrom": "containers: [{name: app, envFrom: [{prefix: A_, configMapRef: {name: found}}]}]",
    "env": "containers: [{name: app, env: [{name: A, valueFrom: {configMapKeyRef: {name: found, key: a}}}]}]",
    "init container": "initContainers: [{name: first, envFrom: [{configMapRef: {name: found}}]}]",
    "native sidecar": "initContainers: [{name: s, restartPolicy: Always, envFrom: [{configMapRef: {name: found}}]}]",
}
SECRETS = {
    "volume": "volumes: [{name: v, secret: {secretName: found}}]",
    "projected volume": "volumes: [{name: v, projected: {sources: [{secret: {name: found}}]}}]",
    "envFrom": "containers: [{name: app, envFrom: [{secretRef: {name: found}}]}]",
    "env": "containers: [{name: app, env: [{name: A, valueFrom: {secretKeyRef: {name: found, key: a}}}]}]",
}
OTHERS = {
    "field": "containers: [{name: app, env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]",
    "value": "containers: [{name: app, env: [{name: A, value: found}]}]",
    "token": "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
    "cluster's certificates": "volumes: [{name: v, projected: {sources: [{configMap: {name: kube-root-ca.crt}}]}}]",
    "pull secret": "imagePullSecrets: [{name: registry}]",
    "claim": "volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]",
    "empty": "{volumes: null, containers: null, initContainers: null}",
    "no name": "containers: [{name: app, envFrom: [{configMapRef: {optional: true}}]}]",
}


def found(spec: str) -> tuple[ConfigReference, ...]:
    return manifests.read_workload(manifests.deployment(manifests.template(spec))).template.configs


@pytest.mark.parametrize("spec", WAYS.values(), ids=WAYS)
def test_a_config_map_is_found(spec: str) -> None:
    assert found(spec) == (ConfigReference(ConfigKind.CONFIG_MAP, "found"),)


@pytest.mark.parametrize("spec", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_found(spec: str) -> None:
    assert found(spec) == (ConfigReference(ConfigKind.SECRET, "found"),)


@pytest.mark.parametrize("spec", OTHERS.values(), ids=OTHERS)
def test_what_is_no_configuration_of_the_application_is_not(spec: str) -> None:
    assert found(spec) == ()


@pytest.mark.parametrize(("first", "second", "optional"), [(True, True, True), (True, False, False)])
def test_an_object_is_optional_when_every_place_says_so(first: bool, second: bool, optional: bool) -> None:
    volume = f"{{name: v, configMap: {{name: found, optional: {str(first).lower()}}}}}"
    source = f"{{configMapRef: {{name: found, optional: {str(second).lower()}}}}}"
    both = f"volumes: [{volume}]\ncontainers: [{{name: app, envFrom: [{source}]}}]"

    assert found(both) == (ConfigReference(ConfigKind.CONFIG_MAP, "found", optional=optional),)
