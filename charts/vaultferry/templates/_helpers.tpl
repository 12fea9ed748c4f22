{{- /* vaultferry.labels: labels of every object. */ -}}
{{- define "vaultferry.labels" -}}
{{- include "vaultferry.labelsWith" (dict "root" . "own" dict) -}}
{{- end -}}

{{- /* vaultferry.labelsWith: labels of an object that has labels of its own.
Takes a dict of root and own. The user's labels never replace the chart's. */ -}}
{{- define "vaultferry.labelsWith" -}}
{{- $chart := .root.Chart -}}
{{- $own := merge (dict) .own (dict
  "helm.sh/chart" (printf "%s-%s" $chart.Name ($chart.Version | replace "+" "_"))
  "app.kubernetes.io/name" $chart.Name
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" $chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/part-of" $chart.Name) -}}
{{- toYaml (merge $own .root.Values.commonLabels) -}}
{{- end -}}

{{- /* vaultferry.selector: what a workload selects its pods by. Takes a dict of
root and component. Selectors can't be changed later, so nothing goes in here
that a user may want to change. */ -}}
{{- define "vaultferry.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* vaultferry.podLabels: labels of a workload's pods. Takes a dict of root,
component, app (the label that users look the pods up by) and labels (the user's). */ -}}
{{- define "vaultferry.podLabels" -}}
{{- $own := fromYaml (include "vaultferry.selector" .) -}}
{{- $own = merge $own (dict "app" .app "app.kubernetes.io/version" .root.Chart.AppVersion) -}}
{{- toYaml (merge $own .labels .root.Values.commonLabels) -}}
{{- end -}}

{{- /* vaultferry.image: reference of an image. Takes a dict of root and image. */ -}}
{{- define "vaultferry.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* vaultferry.placement: what says where pods run. Takes the values of
driver, provider or controller. */ -}}
{{- define "vaultferry.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* vaultferry.additionalProvidersDirs: the additional directories of provider
sockets, without the main one, as a JSON list. */ -}}
{{- define "vaultferry.additionalProvidersDirs" -}}
{{- without (.Values.additionalProvidersDirs | uniq) .Values.providersDir | toJson -}}
{{- end -}}

{{- /* vaultferry.probe: an HTTP probe. Takes a dict of path, and the settings of
the probe. */ -}}
{{- define "vaultferry.probe" -}}
httpGet:
  path: {{ .path }}
  port: health
timeoutSeconds: {{ .timeout }}
periodSeconds: {{ .period }}
failureThreshold: {{ .failures }}
{{- end -}}
