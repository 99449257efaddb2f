{{/* Names and labels. A part is {root, name, service}: the release, gateway, analyzer, captioner or processor,
and its values. */}}

{{/* The parts of the release. The captioner is an analyzer that runs only the caption step. */}}
{{- define "imagebatch.parts" -}}
gateway analyzer {{ if .Values.captioner.enabled }}captioner {{ end }}processor
{{- end -}}

{{/* The part that asks the vision model. Only it has the key. */}}
{{- define "imagebatch.asks" -}}
{{- ternary "captioner" "analyzer" .Values.captioner.enabled -}}
{{- end -}}

{{- define "imagebatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for the longest suffix, -processor-metrics. */}}
{{- define "imagebatch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains (include "imagebatch.name" .) .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "imagebatch.name" .) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "imagebatch.part" -}}
{{- include "imagebatch.fullname" .root }}-{{ .name -}}
{{- end -}}

{{- define "imagebatch.selector" -}}
app.kubernetes.io/name: {{ include "imagebatch.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "imagebatch.releaseLabels" -}}
app.kubernetes.io/name: {{ include "imagebatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: imagebatch
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | trunc 63 | trimSuffix "-" | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "imagebatch.labels" -}}
{{ include "imagebatch.releaseLabels" .root }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "imagebatch.serviceAccount" -}}
{{- if .service.serviceAccount.create -}}
{{- default (include "imagebatch.part" .) .service.serviceAccount.name -}}
{{- else -}}
{{- default "default" .service.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "imagebatch.image" -}}
{{- $image := .root.Values.image -}}
{{- $repository := .service.image.repository -}}
{{- if not $repository -}}
{{- $repository = printf "%s/%s" $image.repository (ternary "analyzer" .name (eq .name "captioner")) -}}
{{- if $image.registry }}{{ $repository = printf "%s/%s" $image.registry $repository }}{{ end -}}
{{- end -}}
{{- if .service.image.digest -}}
{{- printf "%s@%s" $repository .service.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion $image.tag | toString) -}}
{{- end -}}
{{- end -}}

{{/* The port of the admin address, with /healthz, /readyz and /metrics. */}}
{{- define "imagebatch.opsPort" -}}
{{- get (dict "gateway" "9090" "analyzer" "8081" "captioner" "8081" "processor" "8082") .name -}}
{{- end -}}

{{/* A number in the format that the services read: values from files are floats, and the services reject 1e+07. */}}
{{- define "imagebatch.scalar" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The bytes of a memory quantity; empty if the quantity has another format. */}}
{{- define "imagebatch.bytes" -}}
{{- $quantity := include "imagebatch.scalar" . -}}
{{- if regexMatch "^[0-9]+([KMG]i|[kMG])?$" $quantity -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- mul (regexFind "^[0-9]+" $quantity) (get $units (regexFind "[KkMG]i?$" $quantity)) -}}
{{- end -}}
{{- end -}}
