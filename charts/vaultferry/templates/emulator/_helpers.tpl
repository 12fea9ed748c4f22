{{- /* vaultferry.emulator.ca: the emulator's CA as JSON with the PEM texts cert
and key, and signing, the RSA key of its access tokens. They are made at the first install and kept by later upgrades, so that
pods that trust the CA, and tokens in use, go on working. Within one rendering
they are made once and put aside in the values: every file that asks gets the
same. */ -}}
{{- define "vaultferry.emulator.ca" -}}
{{- if not (hasKey .Values.emulator "_ca") -}}
{{- $kept := lookup "v1" "Secret" .Release.Namespace "azure-emulator-ca" -}}
{{- $ca := dict -}}
{{- if $kept -}}
{{- $ca = dict "cert" (index $kept.data "tls.crt" | b64dec) "key" (index $kept.data "tls.key" | b64dec) "signing" (index $kept.data "signing.key" | b64dec) -}}
{{- else -}}
{{- $new := genCAWithKey "azure-emulator" 3650 (genPrivateKey "ecdsa") -}}
{{- /* genCA makes an RSA key of 2048 bits, and genPrivateKey one of 4096, which
takes seconds. */ -}}
{{- $ca = dict "cert" $new.Cert "key" $new.Key "signing" (genCA "signing" 1).Key -}}
{{- end -}}
{{- $_ := set .Values.emulator "_ca" $ca -}}
{{- end -}}
{{- toJson .Values.emulator._ca -}}
{{- end -}}

{{- define "vaultferry.emulator.caCertificate" -}}
{{- (include "vaultferry.emulator.ca" . | fromJson).cert -}}
{{- end -}}

{{- /* vaultferry.emulator.clientEnv: environment that sends a client's calls to
Entra ID and Key Vault to the emulator. The variables are those that Go programs
read by themselves. */ -}}
{{- define "vaultferry.emulator.clientEnv" -}}
- name: HTTPS_PROXY
  value: http://azure-emulator.{{ .Release.Namespace }}.svc:8080
- name: NO_PROXY
  # Kubernetes puts in the address of the API server.
  value: {{ printf "%s,$(KUBERNETES_SERVICE_HOST)" .Values.emulator.noProxy | quote }}
- name: SSL_CERT_FILE
  value: /etc/azure-emulator/ca.crt
{{- end -}}
