{{- define "muster.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 36 | trimSuffix "-" -}}
{{- end -}}

{{- define "muster.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else if contains (include "muster.name" .) .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "muster.name" .) | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "muster.operatorName" -}}
{{ include "muster.fullname" . }}-operator
{{- end -}}

{{- define "muster.metricsServiceName" -}}
{{ include "muster.fullname" . }}-metrics
{{- end -}}

{{- define "muster.metricsSecretName" -}}
{{ include "muster.fullname" . }}-metrics-tls
{{- end -}}

{{- define "muster.tokenReviewName" -}}
{{ include "muster.fullname" . }}-token-review
{{- end -}}

{{- define "muster.serviceAccountName" -}}
{{- default (include "muster.operatorName" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "muster.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "muster.selectorLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "muster.selectorLabels" -}}
app.kubernetes.io/name: muster
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* "<registry>/<repository>:<tag>@<digest>" of .image; arguments: root, image */}}
{{- define "muster.image" -}}
{{- $registry := trimSuffix "/" .root.Values.images.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- with .image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "muster.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "muster.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}
