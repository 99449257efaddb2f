{{/* The configuration of a part: variables, and secrets as files in one folder, to which NAME_FILE variables point. */}}

{{- define "imagebatch.secretsFolder" -}}/run/secrets/imagebatch{{- end -}}

{{/* The Secret of a server for one part: the part's own, or the common one. */}}
{{- define "imagebatch.secretOf" -}}
{{- $all := get .root.Values .server -}}
{{- $own := get .service .server -}}
{{- if $own.existingSecret -}}
{{- $own.existingSecret -}}
{{- else -}}
{{- $all.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "imagebatch.keyOf" -}}
{{- default (get (get .root.Values .server) .key) (get (get .service .server) .key) -}}
{{- end -}}

{{/* The sources of the projected volume. No file is mounted by subPath, because such a file would never be updated. */}}
{{- define "imagebatch.secrets" -}}
{{- $rabbitmq := include "imagebatch.secretOf" (merge (dict "server" "rabbitmq") .) -}}
{{- $message := "rabbitmq.existingSecret: specify the Secret with the URL of RabbitMQ (its key is rabbitmq.urlKey)" -}}
- secret:
    name: {{ required $message $rabbitmq }}
    items:
      - { key: {{ include "imagebatch.keyOf" (merge (dict "server" "rabbitmq" "key" "urlKey") .) | quote }}, path: RABBITMQ_URL }
{{- with include "imagebatch.secretOf" (merge (dict "server" "s3") .) }}
- secret:
    name: {{ . }}
    items:
      - { key: {{ include "imagebatch.keyOf" (merge (dict "server" "s3" "key" "accessKeyKey") $) | quote }}, path: S3_ACCESS_KEY }
      - { key: {{ include "imagebatch.keyOf" (merge (dict "server" "s3" "key" "secretKeyKey") $) | quote }}, path: S3_SECRET_KEY }
{{- end }}
{{- with .root.Values.trust }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{ key: {{ .key | quote }}, path: ca.crt }]
{{- else if .configMap }}
- configMap:
    name: {{ .configMap }}
    items: [{ key: {{ .key | quote }}, path: ca.crt }]
{{- end }}
{{- end }}
{{- if eq .name (include "imagebatch.asks" .root) }}
{{- with .root.Values.captions }}
{{- if and .url .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{ key: {{ .key | quote }}, path: CAPTION_API_KEY }]
{{- end }}
{{- end }}
{{- end }}
{{- if eq .name "gateway" }}
{{- $database := .root.Values.database }}
{{- if eq $database.kind "postgres" }}
- secret:
    name: {{ required "database.existingSecret: specify the Secret with the URL of PostgreSQL (its key is database.urlKey)" $database.existingSecret }}
    items: [{ key: {{ $database.urlKey | quote }}, path: DATABASE_URL }]
{{- end }}
{{- with .service.tls.existingSecret }}
- secret:
    name: {{ . }}
    items: [{ key: tls.crt, path: tls.crt }, { key: tls.key, path: tls.key }]
{{- end }}
{{- with .service.apiKeys }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{ key: {{ .key | quote }}, path: api-keys }]
{{- end }}
{{- end }}
{{- with .service.webhooks }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{ key: {{ .key | quote }}, path: webhooks }]
{{- end }}
{{- end }}
{{- with .service.operatorKey }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{ key: {{ .key | quote }}, path: GATEWAY_API_KEY }]
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "imagebatch.environment" -}}
{{- $root := .root -}}
{{- $folder := include "imagebatch.secretsFolder" . -}}
{{- $s3 := $root.Values.s3 -}}
{{- $v := dict "RABBITMQ_URL_FILE" (printf "%s/RABBITMQ_URL" $folder) "RABBITMQ_DECLARE" $root.Values.rabbitmq.declare
  "S3_ENDPOINT" (required "s3.endpoint: specify the URL of the S3 server, such as https://s3.eu-central-1.amazonaws.com" $s3.endpoint)
  "S3_REGION" $s3.region "S3_BUCKET_ORIGINAL" $s3.bucketOriginal "S3_BUCKET_PROCESSED" $s3.bucketProcessed
  "S3_PREFIX_ORIGINAL" $s3.prefixOriginal "S3_PREFIX_PROCESSED" $s3.prefixProcessed
  "S3_PATH_STYLE" $s3.pathStyle "S3_CREATE_BUCKETS" $s3.createBuckets -}}
{{- if include "imagebatch.secretOf" (merge (dict "server" "s3") .) -}}
{{- $_ := set $v "S3_ACCESS_KEY_FILE" (printf "%s/S3_ACCESS_KEY" $folder) -}}
{{- $_ := set $v "S3_SECRET_KEY_FILE" (printf "%s/S3_SECRET_KEY" $folder) -}}
{{- end -}}
{{- if or $root.Values.trust.secret $root.Values.trust.configMap -}}
{{- $_ := set $v "TLS_CA_FILE" (printf "%s/ca.crt" $folder) -}}
{{- end -}}
{{- $captions := $root.Values.captions -}}
{{- if and $captions.url (ne .name "processor") -}}
{{- $_ := set $v "CAPTION_URL" $captions.url -}}
{{- $_ := set $v "CAPTION_MODEL" $captions.model -}}
{{- if and $captions.existingSecret (eq .name (include "imagebatch.asks" $root)) -}}
{{- $_ := set $v "CAPTION_API_KEY_FILE" (printf "%s/CAPTION_API_KEY" $folder) -}}
{{- end -}}
{{- end -}}
{{- if and $captions.url (eq .name "gateway") -}}
{{- /* The gateway shows it to clients, so it has the value of the pods that ask the model. */ -}}
{{- $asking := get $root.Values (include "imagebatch.asks" $root) -}}
{{- with get (merge (deepCopy $asking.env) $root.Values.analyzer.env) "CAPTION_PIXELS" -}}
{{- $_ := set $v "CAPTION_PIXELS" . -}}
{{- end -}}
{{- end -}}
{{- if $root.Values.captioner.enabled -}}
{{- if eq .name "analyzer" }}{{ $_ := set $v "ANALYZER_STEPS" "describe" }}{{ end -}}
{{- if eq .name "captioner" }}{{ $_ := set $v "ANALYZER_STEPS" "caption" }}{{ end -}}
{{- end -}}
{{- if eq .name "gateway" -}}
{{- $_ := set $v "HTTP_ADDR" ":8080" -}}
{{- $_ := set $v "METRICS_ADDR" (printf ":%s" (include "imagebatch.opsPort" .)) -}}
{{- if eq $root.Values.database.kind "postgres" -}}
{{- $_ := set $v "DATABASE_URL_FILE" (printf "%s/DATABASE_URL" $folder) -}}
{{- else -}}
{{- $_ := set $v "DATA_DIR" "/data" -}}
{{- end -}}
{{- if .service.tls.existingSecret -}}
{{- $_ := set $v "TLS_CERT_FILE" (printf "%s/tls.crt" $folder) -}}
{{- $_ := set $v "TLS_KEY_FILE" (printf "%s/tls.key" $folder) -}}
{{- end -}}
{{- if .service.apiKeys.existingSecret -}}
{{- $_ := set $v "API_KEYS_FILE" (printf "%s/api-keys" $folder) -}}
{{- end -}}
{{- if .service.webhooks.existingSecret -}}
{{- $_ := set $v "WEBHOOKS_FILE" (printf "%s/webhooks" $folder) -}}
{{- end -}}
{{- if .service.operatorKey.existingSecret -}}
{{- $_ := set $v "GATEWAY_API_KEY_FILE" (printf "%s/GATEWAY_API_KEY" $folder) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $v "HTTP_ADDR" (printf ":%s" (include "imagebatch.opsPort" .)) -}}
{{- end -}}
{{- /* A tenth of the memory is reserved for memory that the Go runtime does not manage. */ -}}
{{- with dig "limits" "memory" "" (default dict .service.resources) -}}
{{- with include "imagebatch.bytes" . -}}
{{- $_ := set $v "GOMEMLIMIT" (div (mul . 9) 10) -}}
{{- end -}}
{{- end -}}
{{- $own := deepCopy .service.env -}}
{{- $extra := concat $root.Values.extraEnv .service.extraEnv -}}
{{- if eq .name "captioner" -}}
{{- /* Both fleets must ask in the same way; otherwise, a picture would be paid for twice. */ -}}
{{- $own = merge $own $root.Values.analyzer.env -}}
{{- $extra = concat $root.Values.extraEnv $root.Values.analyzer.extraEnv .service.extraEnv -}}
{{- end -}}
{{- $v = merge $own $root.Values.env $v -}}
{{- range $extra }}{{ $v = omit $v .name (trimSuffix "_FILE" .name) (printf "%s_FILE" .name) }}{{ end -}}
{{- range $name, $value := $v }}
{{- if not (kindIs "invalid" $value) }}
- { name: {{ $name }}, value: {{ include "imagebatch.scalar" $value | quote }} }
{{- end }}
{{- end }}
{{- with $extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}
