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
{{- $captions := .Values.captions -}}
{{- if ne (empty $captions.url) (empty $captions.model) -}}
{{- $wrong = append $wrong "captions: specify url and model, or neither" -}}
{{- end -}}
{{- if and .Values.captioner.enabled (not $captions.url) -}}
{{- $wrong = append $wrong "captioner.enabled: captions are off; specify captions.url and captions.model" -}}
{{- end -}}
{{- if and (or .Values.analyzer.autoscaling.enabled .Values.processor.autoscaling.enabled (and .Values.captioner.enabled .Values.captioner.autoscaling.enabled)) (not $keda.existingSecret) (not $keda.authenticationRef) -}}
{{- $wrong = append $wrong "keda.existingSecret: specify the Secret with the credentials of KEDA for RabbitMQ, or set keda.authenticationRef" -}}
{{- end -}}
{{- if and $keda.existingSecret $keda.authenticationRef -}}
{{- $wrong = append $wrong "keda: specify existingSecret or authenticationRef, not both" -}}
{{- end -}}
{{- range $name := list "analyzer" "captioner" "processor" -}}
{{- $service := get $.Values $name -}}
{{- $scaling := $service.autoscaling -}}
{{- $variable := ternary "CAPTION_CONCURRENCY" "CONCURRENCY" (eq $name "captioner") -}}
{{- $env := $service.env -}}
{{- if eq $name "captioner" }}{{ $env = merge (deepCopy $env) $.Values.analyzer.env }}{{ end -}}
{{- $concurrency := include "imagebatch.scalar" (default 0 (get $env $variable)) | int -}}
{{- if and $scaling.enabled (lt (int $scaling.maxReplicas) (int $scaling.minReplicas)) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling: maxReplicas is less than minReplicas" $name) -}}
{{- end -}}
{{- if and $scaling.enabled (ge $concurrency (int $scaling.messagesPerReplica)) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.messagesPerReplica: must be greater than %s (%d), the number of messages that one replica has in flight" $name $variable $concurrency) -}}
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
