// SPDX-License-Identifier: Apache-2.0

// Package reload decides which workloads are restarted when a ConfigMap, a Secret or the mounted content of a SecretProviderClass changes. It
// is pure: it reads no API and no clock. Package controller, below it, watches and acts.
//
// [Decide] says what a change does to a workload, [NewPlan] what has changed since the workload's pods read it, [Keys.PaceFor] when a restart
// may be, and [Edit] how a pod template is made another. The annotations are Reloader's (https://github.com/stakater/Reloader), and those of
// Vaultferry's own in keys.go. Reloader restarts whatever refers to a source. Here, the mode when-stale, which is what auto means for
// classes and for Secrets that mirror them, restarts only what cannot see the change:
//
//	how the pod template reads      always     when-stale
//	env, envFrom, any subPath       restart    restart, if a key changed that is read
//	volume, projected volume        restart    nothing: the files follow
//	running Job                     as above   as above
//	finished Job, CronJob           restart    nothing: the next one reads the new content
//	named, but not referred to      restart    nothing
//
// What a workload's pods have read stands on the workload itself, as [State]: a restart of the controller and changes while it is down are
// neither missed nor repeated. What is seen for the first time is recorded, and restarts nothing.
package reload
