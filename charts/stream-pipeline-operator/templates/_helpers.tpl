{{- define "spo.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of what is in the release's namespace. A Service takes no dots. */ -}}
{{- define "spo.fullname" -}}
{{- $both := printf "%s-%s" .Release.Name (include "spo.name" .) -}}
{{- $name := ternary .Release.Name $both (contains (include "spo.name" .) .Release.Name) -}}
{{- .Values.fullnameOverride | default $name | replace "." "-" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* With a suffix, still no longer than a label may be; a digest keeps two long names apart. Arguments: root, suffix. */ -}}
{{- define "spo.suffixed" -}}
{{- $full := include "spo.fullname" (index . 0) -}}
{{- $name := printf "%s-%s" $full (index . 1) -}}
{{- if gt (len $name) 63 -}}
{{- $name = printf "%s-%s-%s" ($full | trunc (int (sub 54 (len (index . 1)))) | trimSuffix "-") ($full | sha256sum | trunc 7) (index . 1) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- /*
The name of what stands beside that of other releases: in no namespace, or in one that is not the release's. Neither a namespace nor the
last part has a dot, so no two releases share one, and none is a word like `edit`. Arguments: root, part.
*/ -}}
{{- define "spo.unique" -}}
{{- printf "%s.%s.%s" (index . 0).Release.Namespace (include "spo.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "spo.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "spo.fullname" .) -}}
{{- end -}}

{{- define "spo.selector" -}}
app.kubernetes.io/name: {{ include "spo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "spo.about" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "spo.labels" -}}
{{- $own := merge (include "spo.selector" . | fromYaml) (include "spo.about" . | fromYaml) -}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "spo.podLabels" -}}
{{- merge (include "spo.labels" . | fromYaml) .Values.podLabels | toYaml -}}
{{- end -}}

{{- /* Pods that end by themselves are not the operator's: neither its Service nor its disruption budget may count them. */ -}}
{{- define "spo.checkSelector" -}}
app.kubernetes.io/name: {{ include "spo.name" . | trunc 57 | trimSuffix "-" }}-check
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "spo.checkLabels" -}}
{{- merge (include "spo.checkSelector" . | fromYaml) (include "spo.podLabels" . | fromYaml) | toYaml -}}
{{- end -}}

{{- define "spo.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s%s@%s" .repository (.tag | empty | ternary "" (printf ":%s" .tag)) .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What every pod of the release has. */ -}}
{{- define "spo.pod" -}}
serviceAccountName: {{ include "spo.serviceAccountName" . }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* What every container of the release has. */ -}}
{{- define "spo.container" -}}
image: {{ include "spo.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
resources: {{- toYaml .Values.resources | nindent 2 }}
{{- with .Values.securityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "spo.watchNamespace" -}}
{{- with .Values.watchNamespaces -}}
--watch-namespace={{ join "," . }}
{{- end -}}
{{- end -}}

{{- /* A pod that looks and ends. Arguments: root, what it is called, its arguments. */ -}}
{{- define "spo.check" -}}
{{ include "spo.pod" (index . 0) }}
restartPolicy: Never
containers:
  - name: {{ index . 1 }}
    {{- include "spo.container" (index . 0) | nindent 4 }}
    args: {{- concat (list (include "spo.watchNamespace" (index . 0)) | compact) (index . 2) | toYaml | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- define "spo.args" -}}
{{- $args := list "--listen=0.0.0.0:8080" -}}
{{- with include "spo.watchNamespace" . -}}{{- $args = append $args . -}}{{- end -}}
{{- if .Values.leaderElection -}}
{{- $args = append $args (printf "--leader-election=%s/%s" .Release.Namespace (include "spo.fullname" .)) -}}
{{- end -}}
{{- with .Values.allowedEndpoints -}}{{- $args = append $args (printf "--allowed-endpoints=%s" (join "," .)) -}}{{- end -}}
{{- $args = append $args (printf "--kafka-clients=%d" (int64 .Values.kafkaClients)) -}}
{{- if .Values.allowPlainHTTP -}}{{- $args = append $args "--allow-plain-http" -}}{{- end -}}
{{- if .Values.allowPlainSASL -}}{{- $args = append $args "--allow-plain-sasl" -}}{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- $flag := printf "--%s" (kebabcase $name) -}}
{{- if kindIs "bool" $value -}}
{{- if $value -}}{{- $args = append $args $flag -}}{{- end -}}
{{- else -}}
{{- $args = append $args (printf "%s=%v" $flag (kindIs "float64" $value | ternary (int64 $value) $value)) -}}
{{- end -}}
{{- end -}}
{{- concat $args .Values.extraArgs | toYaml -}}
{{- end -}}

{{- /* Where a policy holds: in the namespaces that are watched. */ -}}
{{- define "spo.whereWatched" -}}
{{- with .Values.watchNamespaces }}
matchResources:
  namespaceSelector:
    matchExpressions:
      - { key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }} }
{{- end }}
{{- end -}}

{{- /* Addresses and ranges of allowedEndpoints, as CIDR. A NetworkPolicy knows no names. */ -}}
{{- define "spo.allowedCIDRs" -}}
{{- $found := list -}}
{{- range .Values.allowedEndpoints -}}
{{- $bare := . | trim | trimPrefix "[" | trimSuffix "]" -}}
{{- if contains "/" $bare -}}{{- $found = append $found $bare -}}
{{- else if contains ":" $bare -}}{{- $found = append $found (printf "%s/128" $bare) -}}
{{- else if regexMatch "^[0-9.]+$" $bare -}}{{- $found = append $found (printf "%s/32" $bare) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /* What no schema can say. */ -}}
{{- define "spo.validate" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection) -}}
{{- fail (printf "replicas is %d and leaderElection is false: without an election only one replica may run. Set replicas to 1, or leaderElection to true" (int .Values.replicas)) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: the rights would go to the account `default`. Name the account that is there" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.allowedEndpoints (not .Values.networkPolicy.extraEgress) (not (include "spo.allowedCIDRs" . | fromJsonArray)) -}}
{{- fail (printf "networkPolicy.enabled: allowedEndpoints has names only (%s), and a NetworkPolicy knows addresses only, so the operator would reach no broker. Add their addresses or CIDR ranges to allowedEndpoints, or rules to networkPolicy.extraEgress" (join ", " .Values.allowedEndpoints)) -}}
{{- end -}}
{{- end -}}
