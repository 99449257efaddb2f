{{/* Checks that the schema cannot express. All errors are reported together. */}}
{{- define "imagebatch.checks" -}}
{{- $wrong := list -}}
{{- $s3 := .Values.s3 -}}
{{- if and (eq $s3.bucketOriginal $s3.bucketProcessed) (eq $s3.prefixOriginal $s3.prefixProcessed) -}}
{{- $wrong = append $wrong "s3: originals and processed images are in the same bucket, so they need different prefixes (s3.prefixOriginal, s3.prefixProcessed)" -}}
{{- end -}}
{{- if and .Values.trust.secret .Values.trust.configMap -}}
{{- $wrong = append $wrong "trust: specify a Secret or a ConfigMap, not both" -}}
{{- end -}}
{{- if and (eq .Values.database.kind "sqlite") .Values.database.existingSecret -}}
{{- $wrong = append $wrong "database.existingSecret: this Secret has the URL of PostgreSQL, but database.kind is sqlite" -}}
{{- end -}}
{{- $ingress := .Values.gateway.ingress -}}
{{- if and $ingress.enabled (not $ingress.hosts) -}}
{{- $wrong = append $wrong "gateway.ingress.hosts: specify at least one host" -}}
{{- end -}}
{{- $keda := .Values.keda -}}
{{- if and (or .Values.analyzer.autoscaling.enabled .Values.processor.autoscaling.enabled) (not $keda.existingSecret) (not $keda.authenticationRef) -}}
{{- $wrong = append $wrong "keda.existingSecret: specify the Secret with the credentials of KEDA for RabbitMQ, or set keda.authenticationRef" -}}
{{- end -}}
{{- if and $keda.existingSecret $keda.authenticationRef -}}
{{- $wrong = append $wrong "keda: specify existingSecret or authenticationRef, not both" -}}
{{- end -}}
{{- range $name := list "analyzer" "processor" -}}
{{- $service := get $.Values $name -}}
{{- $scaling := $service.autoscaling -}}
{{- $concurrency := include "imagebatch.scalar" (default 0 (get $service.env "CONCURRENCY")) | int -}}
{{- if and $scaling.enabled (lt (int $scaling.maxReplicas) (int $scaling.minReplicas)) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling: maxReplicas is less than minReplicas" $name) -}}
{{- end -}}
{{- if and $scaling.enabled (ge $concurrency (int $scaling.messagesPerReplica)) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.messagesPerReplica: must be greater than CONCURRENCY (%d), the number of messages that one replica has in flight" $name $concurrency) -}}
{{- end -}}
{{- end -}}
{{- $pixels := include "imagebatch.scalar" (default 536870912 .Values.analyzer.env.MAX_PIXEL_BYTES) | int64 -}}
{{- with include "imagebatch.bytes" (dig "limits" "memory" "" (default dict .Values.analyzer.resources)) -}}
{{- if gt $pixels (div (mul . 3) 4) -}}
{{- $wrong = append $wrong (printf "analyzer: MAX_PIXEL_BYTES (%d) leaves less than a quarter of resources.limits.memory for everything else" $pixels) -}}
{{- end -}}
{{- end -}}
{{- with $wrong }}{{ fail (printf "\n%s" (join "\n" .)) }}{{ end -}}
{{- end -}}
