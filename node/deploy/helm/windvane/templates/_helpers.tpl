{{- define "windvane.name" -}}
{{- printf "%s-windvane" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- define "windvane.selector" -}}
app.kubernetes.io/name: windvane
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "windvane.labels" -}}
{{ include "windvane.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
