{{- /* Sets each value that is absent to its default: `helm upgrade --reuse-values` brings the values of an older chart.
Every template begins with it. */ -}}
{{- define "resilience-operator.defaults" -}}
{{- range .Files.Get "files/defaults.json" | fromJsonArray }}
{{- $at := $.Values }}
{{- range initial .path }}
{{- if not (kindIs "map" (index $at .)) }}
{{- $_ := set $at . dict }}
{{- end }}
{{- $at = index $at . }}
{{- end }}
{{- if kindIs "invalid" (last .path | index $at) }}
{{- $_ := set $at (last .path) .default }}
{{- end }}
{{- end }}
{{- end }}

{{- define "resilience-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "resilience-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trimSuffix "-" }}
{{- else if contains (include "resilience-operator.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "resilience-operator.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Two releases in two namespaces must not share what belongs to the whole cluster. */ -}}
{{- define "resilience-operator.clusterName" -}}
{{ .Release.Namespace }}-{{ include "resilience-operator.fullname" . }}
{{- end }}

{{- define "resilience-operator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "resilience-operator.fullname" .) }}
{{- end }}

{{- define "resilience-operator.image" -}}
{{- /* Never both: some container runtimes refuse a tag beside a digest. */ -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "resilience-operator.selector" -}}
app.kubernetes.io/name: {{ include "resilience-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "resilience-operator.ownLabels" -}}
app.kubernetes.io/name: {{ include "resilience-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "resilience-operator.commonLabels" -}}
{{ merge (include "resilience-operator.ownLabels" . | fromYaml) .Values.commonLabels | toYaml }}
{{- end }}

{{- define "resilience-operator.labels" -}}
{{ merge (dict "app.kubernetes.io/component" "operator") (include "resilience-operator.commonLabels" . | fromYaml) | toYaml }}
{{- end }}

{{- /* Of a pod that helm starts: never those that the Service and the PodDisruptionBudget select. */ -}}
{{- define "resilience-operator.hookLabels" -}}
{{ merge (dict "app.kubernetes.io/component" .component) (include "resilience-operator.ownLabels" .root | fromYaml)
    .labels .root.Values.podLabels .root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "resilience-operator.refusedNamespaces" -}}
{{ append .Values.refusedNamespaces .Release.Namespace | uniq | join "," }}
{{- end }}

{{- /* The same for every pod. */ -}}
{{- define "resilience-operator.pod" -}}
enableServiceLinks: false
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Of a pod that helm starts. The operator's pods run then: kept apart from them, it might find no node. */ -}}
{{- define "resilience-operator.hookPod" -}}
{{ include "resilience-operator.pod" . }}
{{- with pick .Values.affinity "nodeAffinity" }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The same for every container. */ -}}
{{- define "resilience-operator.container" -}}
image: {{ include "resilience-operator.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "resilience-operator.env" -}}
- {name: RESILIENCE_NAMESPACES, value: {{ join "," .Values.namespaces | quote }}}
- {name: RESILIENCE_REFUSED_NAMESPACES, value: {{ include "resilience-operator.refusedNamespaces" . | quote }}}
- {name: RESILIENCE_SERVICES_PER_NAMESPACE, value: {{ .Values.servicesPerNamespace | int | quote }}}
- {name: RESILIENCE_POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: RESILIENCE_POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: RESILIENCE_LEASE_NAME, value: {{ include "resilience-operator.fullname" . }}}
- {name: RESILIENCE_OPERATOR_DEPLOYMENT, value: {{ include "resilience-operator.fullname" . }}}
- {name: RESILIENCE_LOG_FORMAT, value: {{ .Values.log.format }}}
- {name: RESILIENCE_HTTP_PORT, value: "8080"}
- {name: RESILIENCE_USAGE_INTERVAL, value: "PT{{ .Values.policies.usageIntervalSeconds }}S"}
- {name: RESILIENCE_FLAGS_PORT, value: {{ ternary "8081" "0" .Values.flags.enabled | quote }}}
- {name: RESILIENCE_FLAGS_READERS, value: {{ join "," .Values.flags.readers | quote }}}
{{- with .Values.alerts }}
- {name: RESILIENCE_ALERTS_DEFAULT_RECEIVER, value: {{ .defaultReceiver | quote }}}
- {name: RESILIENCE_ALERTS_HEARTBEAT_RECEIVER, value: {{ .heartbeat.receiver | quote }}}
- {name: RESILIENCE_ALERTS_HEARTBEAT_INTERVAL, value: "PT{{ .heartbeat.intervalSeconds }}S"}
- {name: RESILIENCE_ALERTS_RUNBOOK_URL, value: {{ .runbookUrl | quote }}}
- {name: RESILIENCE_ALERTS_CLUSTER, value: {{ .cluster | quote }}}
- {name: RESILIENCE_ALERTS_DASHBOARD_URL, value: {{ .dashboardUrl | quote }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Only where checks run: what is mounted for them, the Job that gives everything back must not need. */ -}}
{{- define "resilience-operator.prometheusEnv" -}}
- {name: RESILIENCE_SETTINGS_FILE, value: /etc/resilience/live/settings.json}
{{- with .Values.proxy }}
- {name: RESILIENCE_PROXY_HTTP, value: {{ .http | quote }}}
- {name: RESILIENCE_PROXY_HTTPS, value: {{ .https | quote }}}
- {name: RESILIENCE_NO_PROXY, value: {{ join "," .noProxy | quote }}}
{{- if .credentials.secret }}
- {name: RESILIENCE_PROXY_CREDENTIALS, valueFrom: {secretKeyRef: {name: {{ .credentials.secret | quote }}, key: {{ .credentials.key | quote }}}}}
{{- end }}
{{- end }}
{{- with .Values.prometheus }}
{{- if .url }}
- {name: RESILIENCE_PROMETHEUS_URL, value: {{ .url | quote }}}
{{- if .token.secret }}
- {name: RESILIENCE_PROMETHEUS_TOKEN_FILE, value: /etc/resilience/prometheus/token}
{{- end }}
{{- if .ca.configMap }}
- {name: RESILIENCE_PROMETHEUS_CA_FILE, value: /etc/resilience/prometheus/ca.crt}
{{- end }}
{{- if .headers.secret }}
- {name: RESILIENCE_PROMETHEUS_HEADERS_FILE, value: /etc/resilience/prometheus/headers}
{{- end }}
{{- if .basicAuth.secret }}
- {name: RESILIENCE_PROMETHEUS_BASIC_AUTH_FILE, value: /etc/resilience/prometheus/basic-auth}
{{- end }}
{{- with .oauth2 }}
{{- if .secret }}
- {name: RESILIENCE_PROMETHEUS_OAUTH2_TOKEN_URL, value: {{ .tokenUrl | quote }}}
- {name: RESILIENCE_PROMETHEUS_OAUTH2_CLIENT_ID, value: {{ .clientId | quote }}}
- {name: RESILIENCE_PROMETHEUS_OAUTH2_CLIENT_SECRET_FILE, value: /etc/resilience/prometheus/client-secret}
- {name: RESILIENCE_PROMETHEUS_OAUTH2_SCOPES, value: {{ join "," .scopes | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the operator takes over while it runs: a change of these restarts no pod. */ -}}
{{- define "resilience-operator.liveSettings" -}}
{{- dict "log_level" (.Values.log.level | upper) "policy_restarts" (int .Values.policies.atOnce)
    "policy_restarts_per_namespace" (int .Values.policies.atOncePerNamespace) | toJson }}
{{- end }}

{{- define "resilience-operator.prometheusFiles" -}}
{{- with .Values.prometheus }}
{{- if and .url .token.secret }}
- secret: {name: {{ .token.secret | quote }}, items: [{key: {{ .token.key | quote }}, path: token}]}
{{- end }}
{{- $url := .url }}
{{- range $path, $from := dict "headers" .headers "basic-auth" .basicAuth "client-secret" .oauth2 }}
{{- if and $url $from.secret }}
- secret: {name: {{ $from.secret | quote }}, items: [{key: {{ $from.key | quote }}, path: {{ $path }}}]}
{{- end }}
{{- end }}
{{- if and .url .ca.configMap }}
- configMap: {name: {{ .ca.configMap | quote }}, items: [{key: {{ .ca.key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the operator does in a namespace that it looks after, verb by verb. */ -}}
{{- define "resilience-operator.rules" -}}
- {apiGroups: [resilience.dev], resources: [resilientservices], verbs: [get, list, watch, patch]}
- {apiGroups: [resilience.dev], resources: [resilientservices/status], verbs: [patch]}
- {apiGroups: [resilience.dev], resources: [alertreceivers], verbs: [get, list, watch]}
- {apiGroups: [resilience.dev], resources: [alertreceivers/status], verbs: [patch]}
# create and delete: the second Deployment of a blue-green release.
- {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [apps], resources: [statefulsets, daemonsets], verbs: [get, list, watch, patch]}
- {apiGroups: [apps], resources: [replicasets], verbs: [get, list]}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list, patch]}
# KEDA takes workloads to zero by itself: its HorizontalPodAutoscaler does not show it.
- {apiGroups: [keda.sh], resources: [scaledobjects], verbs: [list]}
# To zero only, of an older template, when readiness gates keep its Deployment from doing so.
- {apiGroups: [apps], resources: [replicasets/scale], verbs: [patch]}
- {apiGroups: [""], resources: [pods], verbs: [list, patch, delete]}
# The last lines of a candidate that crashes, for the Event that says why its release failed.
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [""], resources: [resourcequotas], verbs: [list]}
- {apiGroups: [metrics.k8s.io], resources: [pods], verbs: [get, list]}
- {apiGroups: [""], resources: [pods/eviction], verbs: [create]}
# get, create and delete: preview Services.
- {apiGroups: [""], resources: [services], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [persistentvolumeclaims], verbs: [get]}
# What pods are restarted for when it changes, by name; and those with flags, labelled resilience.dev/flags-of, which
# are written and watched. RBAC cannot select by label: admissionPolicy can.
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, update, delete]}
# Only by name, and only those labelled resilience.dev/readable=true are used: RBAC cannot select by label.
- {apiGroups: [""], resources: [secrets], verbs: [get]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
# Why a pod has no volumes; nothing else says so.
- {apiGroups: [""], resources: [events], verbs: [list]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [list]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list]}
# In a namespace that ends nothing is handed back, written or told. A Role gives this of its own namespace.
- {apiGroups: [""], resources: [namespaces], verbs: [get]}
{{- if .Values.meshPolicies.enabled }}
# The labels of pods that policies of meshes and networks select by, where the cluster has these kinds.
- {apiGroups: [security.istio.io], resources: [authorizationpolicies, peerauthentications, requestauthentications], verbs: [list]}
- {apiGroups: [networking.istio.io], resources: [sidecars, destinationrules, envoyfilters], verbs: [list]}
- {apiGroups: [policy.linkerd.io], resources: [servers], verbs: [list]}
- {apiGroups: [cilium.io], resources: [ciliumnetworkpolicies], verbs: [list]}
- {apiGroups: [crd.projectcalico.org], resources: [networkpolicies], verbs: [list]}
{{- end }}
{{- end }}

{{- /* Namespaces of the operator's own receivers that it does not look after. */ -}}
{{- define "resilience-operator.receiverNamespaces" -}}
{{- $found := list }}
{{- range list .Values.alerts.defaultReceiver .Values.alerts.heartbeat.receiver }}
{{- if . }}
{{- $found = append $found (splitList "/" . | first) }}
{{- end }}
{{- end }}
{{- range $found | uniq }}
{{- if not (has . $.Values.namespaces) }}
{{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "resilience-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "resilience-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* Annotations by which a Prometheus without its operator finds the pods. */}}
{{- define "resilience-operator.scrape" -}}
{{- if .Values.scrapeAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/port: "8080"
prometheus.io/path: /metrics
{{- end }}
{{- end }}
