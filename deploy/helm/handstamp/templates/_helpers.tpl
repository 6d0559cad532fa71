{{- /* What all objects of a release are called by, and found by. */ -}}

{{- define "handstamp.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "handstamp.postgresql" -}}
{{ include "handstamp.name" . }}-postgresql
{{- end -}}

{{- /* Never changes in the life of a release: a Deployment's selector cannot. */ -}}
{{- define "handstamp.selector" -}}
app.kubernetes.io/name: handstamp
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "handstamp.labels" -}}
{{ include "handstamp.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "handstamp.postgresql.selector" -}}
app.kubernetes.io/name: handstamp-postgresql
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "handstamp.postgresql.labels" -}}
{{ include "handstamp.postgresql.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}
