// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Pace is what the annotations of one workload say about when and how it is restarted. A nil or empty field is not set.
type Pace struct {
	Delay, MinInterval *time.Duration
	Windows            Windows
	DryRun             bool
	// PausePeriod is for Deployments only.
	PausePeriod time.Duration
	// Evict replaces pods by eviction; nil where the workload does not say.
	Evict *bool
	// RestartOnly leaves the pod template alone but for a time stamp.
	RestartOnly bool
	// SignalName and Endpoint are for mode signal. Endpoint is the scheme, port and path of a URL, without a host.
	SignalName string
	Endpoint   *url.URL
}

// PaceFor reads the annotations of w, or of its pod template.
func (k Keys) PaceFor(w *Workload) (Pace, []Problem) {
	var p Pace
	var r rules // for its list of problems
	p.Delay = r.duration(w, DelayAnnotation)
	p.MinInterval = r.duration(w, MinIntervalAnnotation)
	if text := w.annotation(WindowsAnnotation); text != "" {
		windows, err := ParseWindows(text)
		if err != nil {
			r.problem(WindowsAnnotation, text, windowsAllowed)
		}
		p.Windows = windows
	}
	p.DryRun = r.exactlyTrue(DryRunAnnotation, map[string]string{DryRunAnnotation: w.annotation(DryRunAnnotation)})
	if w.Kind == Deployment {
		if period := r.duration(w, k.PausePeriod); period != nil {
			p.PausePeriod = *period
		}
	}
	switch method := w.annotation(MethodAnnotation); method {
	case "":
	case "patch", "evict":
		evict := method == "evict"
		p.Evict = &evict
	default:
		r.problem(MethodAnnotation, method, "patch, evict")
	}
	switch strategy := w.annotation(RolloutStrategyAnnotation); strategy {
	case "", "rollout":
	case "restart":
		p.RestartOnly = true
	default:
		r.problem(RolloutStrategyAnnotation, strategy, "rollout, restart")
	}
	p.SignalName = r.signal(w)
	p.Endpoint = r.endpoint(w)
	return p, r.problems
}

func (r *rules) duration(w *Workload, key string) *time.Duration {
	text := w.annotation(key)
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.problem(key, text, "a duration such as 90s, 10m or 1h30m")
		return nil
	}
	return &d
}

// signals are those that an application may take for an order to read its configuration again.
func signals() []string {
	return []string{"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT", "SIGQUIT", "SIGWINCH"}
}

func (r *rules) signal(w *Workload) string {
	text := w.annotation(SignalAnnotation)
	if text == "" {
		return ""
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "SIG")
	if !slices.Contains(signals(), name) {
		r.problem(SignalAnnotation, text, strings.Join(signals(), ", "))
		return ""
	}
	return name
}

// endpoint reads ":8080/path" or "http://:8080/path"; the host is that of each pod, so none may be named.
func (r *rules) endpoint(w *Workload) *url.URL {
	text := w.annotation(EndpointAnnotation)
	if text == "" {
		return nil
	}
	whole := text
	if !strings.Contains(text, "://") {
		whole = "http://" + text
	}
	u, err := url.Parse(whole)
	if err == nil {
		var host, port string
		host, port, err = net.SplitHostPort(u.Host)
		if err == nil && host == "" && port != "" && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil {
			return u
		}
	}
	r.problem(EndpointAnnotation, text, "port and path of the pod's own endpoint, such as :8080/-/reload or https://:8443/reload")
	return nil
}

// Window is a time during which restarts may begin.
type Window struct {
	begins cron.Schedule
	lasts  time.Duration
}

// Windows are all windows of a workload or an installation. None means that restarts may begin at any time.
type Windows []Window

const windowsAllowed = "windows separated by semicolons, each five cron fields and a duration, such as 0 2 * * 6 3h or CRON_TZ=Europe/Berlin 30 4 * * * 30m"

// ParseWindows reads windows separated by semicolons. Each is the five fields of a cron schedule, at which the window opens, and
// how long it stays open. Times are UTC unless CRON_TZ=<zone> stands before the fields.
func ParseWindows(text string) (Windows, error) {
	var windows Windows
	for item := range strings.SplitSeq(text, ";") {
		fields := strings.Fields(item)
		if len(fields) == 0 {
			continue
		}
		schedule, lasts := strings.Join(fields[:len(fields)-1], " "), fields[len(fields)-1]
		d, err := time.ParseDuration(lasts)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("window %q: %q is no duration above 0; give %s", strings.TrimSpace(item), lasts, windowsAllowed)
		}
		if !strings.HasPrefix(schedule, "CRON_TZ=") && !strings.HasPrefix(schedule, "TZ=") {
			schedule = "CRON_TZ=UTC " + schedule
		}
		begins, err := cron.ParseStandard(schedule)
		if err != nil {
			return nil, fmt.Errorf("window %q: %w; give %s", strings.TrimSpace(item), err, windowsAllowed)
		}
		windows = append(windows, Window{begins: begins, lasts: d})
	}
	return windows, nil
}

// Next returns t if a window is open at t or there are none, else when the next one opens; the zero time if none ever does.
func (w Windows) Next(t time.Time) time.Time {
	if len(w) == 0 {
		return t
	}
	var next time.Time
	for _, window := range w {
		// The last opening at or before t, if t lies in the window, is the first after t - lasts.
		opens := window.begins.Next(t.Add(-window.lasts))
		if opens.IsZero() {
			continue
		}
		if !opens.After(t) {
			return t
		}
		if next.IsZero() || opens.Before(next) {
			next = opens
		}
	}
	return next
}
