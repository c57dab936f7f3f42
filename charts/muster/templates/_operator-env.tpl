{{- define "muster.operatorEnv" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: MUSTER_LOG_LEVEL
  value: {{ .Values.operator.logLevel }}
- name: MUSTER_LEASE_NAME
  value: {{ include "muster.operatorName" . }}
- name: MUSTER_DEPLOYMENT
  value: {{ include "muster.operatorName" . }}
- name: MUSTER_TOKEN_REVIEW_BINDING
  value: {{ include "muster.tokenReviewName" . }}
- name: MUSTER_AUTOSCALING_SOURCE
  value: {{ .Values.autoscaling.source }}
- name: MUSTER_KEDA_NAMESPACE
  value: {{ .Values.autoscaling.keda.namespace | quote }}
- name: MUSTER_METRICS_API_SERVICE
  value: {{ include "muster.metricsServiceName" . }}
- name: MUSTER_METRICS_API_SECRET
  value: {{ include "muster.metricsSecretName" . }}
- name: MUSTER_COORDINATOR_IMAGE
  value: {{ include "muster.image" (dict "root" . "image" .Values.images.coordinator) }}
- name: MUSTER_WORKER_IMAGE
  value: {{ include "muster.image" (dict "root" . "image" .Values.images.worker) }}
- name: MUSTER_POSTGRES_IMAGE
  value: {{ include "muster.image" (dict "root" . "image" .Values.images.postgres) }}
- name: MUSTER_NATS_IMAGE
  value: {{ include "muster.image" (dict "root" . "image" .Values.images.nats) }}
- name: MUSTER_IMAGE_PULL_POLICY
  value: {{ .Values.images.pullPolicy }}
{{- end -}}
