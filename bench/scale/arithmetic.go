// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/chart"
	"github.com/vaultferry/vaultferry/bench/scale/load"
)

// sizes are the numbers of nodes of tables and plots.
func sizes() []int { return []int{50, 100, 200, 500, 1000, 2000, 5000} }

// line is what clusters of one size ask, with Vaultferry and with today's system.
type line struct {
	Cluster load.Cluster `json:"cluster"`
	// Steady are requests in a minute; the others, in all.
	Steady      load.Requests `json:"steady"`
	Start       load.Requests `json:"start"`
	Rotation    load.Requests `json:"rotation"`
	Asked       load.Requests `json:"asked"`
	TodaySteady load.Requests `json:"todaySteady"`
	TodayStart  load.Requests `json:"todayStart"`
	// HalfTheLimit is the shortest interval, in seconds, that takes no more than half of one vault's limit.
	HalfTheLimit float64 `json:"intervalForHalfTheLimitSeconds"`
}

func lines(c load.Cluster) []line {
	var all []line
	for _, n := range sizes() {
		c.Nodes = n
		all = append(all, line{
			Cluster: c, Steady: load.Steady(c), Start: load.Start(c), Rotation: load.Rotation(c), Asked: load.Asked(c),
			TodaySteady: load.TodaySteady(c), TodayStart: load.TodayStart(c), HalfTheLimit: load.IntervalFor(c, 0.5).Seconds(),
		})
	}
	return all
}

// tellArithmetic prints the arithmetic for sizes up to 5,000 nodes and draws it.
func tellArithmetic(w io.Writer, o options) error {
	all := lines(o.Cluster)
	above := fmt.Sprintf("%d volumes on each node, %d identities in %d namespaces with a class of %d objects each in one vault, rotation interval %s, object freshness %s",
		o.Volumes, o.Identities, o.Namespaces, o.Objects, o.Interval, o.Freshness)
	err := write(w, o.output, all, above, steadyTable(all), startTable(all), eventTable(all))
	if o.plot != "" {
		err = errors.Join(err, os.WriteFile(o.plot, drawArithmetic(o.Cluster), 0o600))
	}
	return err
}

func steadyTable(all []line) table {
	t := table{header: []string{
		"nodes", "pods", "Key Vault /min", "of one vault's limit", "today", "of the limit", "Entra ID /min", "today", "API server /min", "today", "interval for half the limit",
	}}
	for _, l := range all {
		t.rows = append(t.rows, []string{
			figure(float64(l.Cluster.Nodes)), figure(float64(l.Cluster.Pods())), figure(l.Steady.Vault), percent(l.Steady.Vault), figure(l.TodaySteady.Vault), percent(l.TodaySteady.Vault),
			figure(l.Steady.Entra()), figure(l.TodaySteady.Entra()), figure(l.Steady.API()), figure(l.TodaySteady.API()),
			(time.Duration(l.HalfTheLimit) * time.Second).String(),
		})
	}
	return t
}

func startTable(all []line) table {
	t := table{header: []string{"nodes that start at once", "Key Vault", "seconds at its limit", "today", "seconds", "Entra ID", "today", "API server", "today"}}
	for _, l := range all {
		t.rows = append(t.rows, []string{
			figure(float64(l.Cluster.Nodes)), figure(l.Start.Vault), figure(load.VaultSeconds(l.Start.Vault)), figure(l.TodayStart.Vault), figure(load.VaultSeconds(l.TodayStart.Vault)),
			figure(l.Start.Entra()), figure(l.TodayStart.Entra()), figure(l.Start.API()), figure(l.TodayStart.API()),
		})
	}
	return t
}

func eventTable(all []line) table {
	t := table{header: []string{"nodes", "one object changes: volumes", "API server, within an interval", "one class on request: Key Vault, within seconds", "API server"}}
	for _, l := range all {
		t.rows = append(t.rows, []string{
			figure(float64(l.Cluster.Nodes)), figure(l.Cluster.Readers()), figure(l.Rotation.API()), figure(l.Asked.Vault), figure(l.Asked.API()),
		})
	}
	return t
}

func percent(perMinute float64) string {
	return fmt.Sprintf("%.0f%%", 100*perMinute/float64(load.VaultPerMinute))
}

// curve is a figure over the numbers of nodes.
func curve(name string, c load.Cluster, of func(load.Cluster) float64) chart.Curve {
	drawn := chart.Curve{Name: name}
	for _, n := range sizes() {
		c.Nodes = n
		drawn.X, drawn.Y = append(drawn.X, float64(n)), append(drawn.Y, of(c))
	}
	return drawn
}

// drawArithmetic draws what is asked in a minute over the number of nodes, and of the largest over the interval.
func drawArithmetic(c load.Cluster) []byte {
	const (
		today = "Secrets Store CSI Driver v1.6.0 with Azure provider v1.8.2"
		limit = "one vault's limit (24,000 in a minute)"
	)
	with := func(identities int) (string, load.Cluster) {
		of := c
		of.Identities = identities
		return fmt.Sprintf("Vaultferry, identities on each node: %d", of.Groups()), of
	}
	panel := func(title string, of, ofToday func(load.Cluster) float64, limited bool) chart.Panel {
		p := chart.Panel{Title: title, XLabel: "nodes", LogX: true, LogY: true}
		for _, identities := range []int{1, c.Identities, c.Volumes} {
			name, cluster := with(identities)
			p.Curves = append(p.Curves, curve(name, cluster, of))
		}
		p.Curves = append(p.Curves, curve(today, c, ofToday))
		if limited {
			drawn := curve(limit, c, func(load.Cluster) float64 { return float64(load.VaultPerMinute) })
			drawn.Dashed = true
			p.Curves = append(p.Curves, drawn)
		}
		return p
	}
	return chart.Draw([]chart.Panel{
		panel("requests to Key Vault in a minute", func(c load.Cluster) float64 { return load.Steady(c).Vault }, func(c load.Cluster) float64 { return load.TodaySteady(c).Vault }, true),
		panel("requests to Entra ID in a minute", func(c load.Cluster) float64 { return load.Steady(c).Entra() }, func(c load.Cluster) float64 { return load.TodaySteady(c).Entra() }, false),
		panel("requests to the API server in a minute", func(c load.Cluster) float64 { return load.Steady(c).API() }, func(c load.Cluster) float64 { return load.TodaySteady(c).API() }, false),
		intervalPanel(c, with, today, limit),
	})
}

func intervalPanel(c load.Cluster, with func(int) (string, load.Cluster), today, limit string) chart.Panel {
	const nodes = 5000
	p := chart.Panel{Title: fmt.Sprintf("requests to Key Vault in a minute, %d nodes", nodes), XLabel: "rotation interval in minutes", LogX: true, LogY: true}
	add := func(name string, of func(time.Duration) float64, dashed bool) {
		drawn := chart.Curve{Name: name, Dashed: dashed}
		for _, minutes := range []int{1, 2, 5, 10, 15, 30, 60} {
			drawn.X, drawn.Y = append(drawn.X, float64(minutes)), append(drawn.Y, of(time.Duration(minutes)*time.Minute))
		}
		p.Curves = append(p.Curves, drawn)
	}
	for _, identities := range []int{1, c.Identities, c.Volumes} {
		name, cluster := with(identities)
		cluster.Nodes = nodes
		add(name, func(d time.Duration) float64 { cluster.Interval = d; return load.Steady(cluster).Vault }, false)
	}
	add(today, func(d time.Duration) float64 { c.Nodes, c.Interval = nodes, d; return load.TodaySteady(c).Vault }, false)
	add(limit, func(time.Duration) float64 { return float64(load.VaultPerMinute) }, true)
	return p
}
