{{- /* vaultferry.ignoredWorkloads: kinds of workloads that are left alone, separated by commas. */ -}}
{{- define "vaultferry.ignoredWorkloads" -}}
{{- $kinds := list -}}
{{- if .Values.reload.ignoreJobs }}{{- $kinds = append $kinds "jobs" -}}{{- end -}}
{{- if .Values.reload.ignoreCronJobs }}{{- $kinds = append $kinds "cronjobs" -}}{{- end -}}
{{- join "," $kinds -}}
{{- end -}}
