// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestExplain(t *testing.T) {
	_, url := startAPIServer(t, "testdata/cluster/healthy.yaml", "testdata/cluster/mistakes.yaml")
	const never = "--azure=never"
	for _, c := range []struct {
		name     string
		terminal bool
		code     int
		args     []string
	}{
		{"healthy.pipe", false, exitOK, []string{"explain", "pod/payments-api-6d4cf56db6-abcde", never}},
		{"healthy.terminal", true, exitOK, []string{"explain", "pod/payments-api-6d4cf56db6-abcde", never}},
		{"healthy.json", false, exitOK, []string{"explain", "pod/payments-api-6d4cf56db6-abcde", never, "-o", "json"}},
		{"deployment.pipe", false, exitOK, []string{"explain", "deployment/payments-api", never}},
		{"class.pipe", false, exitOK, []string{"explain", "class/app-kv", never, "-o", "wide"}},
		{"secret.pipe", false, exitOK, []string{"explain", "secret/app-db", never}},
		{"subject.pipe", false, exitFound, []string{"explain", "pod/subject", "-n", "shop", never}},
		{"subject.terminal", true, exitFound, []string{"explain", "pod/subject", "-n", "shop", never}},
		{"subject.json", false, exitFound, []string{"explain", "pod/subject", "-n", "shop", never, "-o", "json"}},
		{"class-missing.pipe", false, exitFound, []string{"explain", "pod/unlabelled", "-n", "shop", never}},
		{"no-volume.pipe", false, exitFound, []string{"explain", "pod/no-volume", "-n", "shop", never}},
		{"sub-path.pipe", false, exitFound, []string{"explain", "pod/sub-path", "-n", "shop", never}},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, url, c.terminal, "explain/"+c.name, c.code, c.args...) })
	}
}
