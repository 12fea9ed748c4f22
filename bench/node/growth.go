// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
)

// growth is how a figure grows while one dimension of the workload does, all else being equal.
type growth struct {
	Dimension string    `json:"dimension"`
	Sizes     []int     `json:"sizes"`
	Figures   []figures `json:"figures"`
	// Exponents are those of size^e fitted to the figures, by name.
	Exponents map[string]float64 `json:"exponents"`
}

// figures are what one size took.
type figures struct {
	Publish  float64 `json:"publishMilliseconds"`
	Refresh  float64 `json:"refreshMilliseconds"`
	CPU      float64 `json:"refreshCPUMilliseconds"`
	Azure    float64 `json:"refreshAzureRequests"`
	Driver   float64 `json:"driverMiB"`
	Provider float64 `json:"providerMiB"`
}

// curve is one of the figures by its name.
type curve struct {
	name string
	of   func(figures) float64
}

func curves() []curve {
	return []curve{
		{"publish all", func(f figures) float64 { return f.Publish }},
		{"refresh all", func(f figures) float64 { return f.Refresh }},
		{"CPU of a refresh", func(f figures) float64 { return f.CPU }},
		{"requests of a refresh to Azure", func(f figures) float64 { return f.Azure }},
		{"driver's memory", func(f figures) float64 { return f.Driver }},
		{"provider's memory", func(f figures) float64 { return f.Provider }},
	}
}

// dimension is one in which a workload grows.
type dimension struct {
	name string
	size func(times int) (int, workload)
}

// times are how often a small node's size is taken.
func times() []int { return []int{1, 2, 4, 8} }

func dimensions() []dimension {
	return []dimension{
		{"volumes", func(t int) (int, workload) {
			return 100 * t, workload{Volumes: 100 * t, Classes: 1, Identities: 1, Objects: 5, PerVolume: 5}
		}},
		{"objects per volume", func(t int) (int, workload) {
			return 5 * t, workload{Volumes: 100, Classes: 1, Identities: 1, Objects: 5 * t, PerVolume: 5 * t}
		}},
		{"identities", func(t int) (int, workload) {
			return 25 * t, workload{Volumes: 200, Classes: 200, Identities: 25 * t, Objects: 5, PerVolume: 5}
		}},
		{"classes", func(t int) (int, workload) {
			return 25 * t, workload{Volumes: 200, Classes: 25 * t, Identities: 1, Objects: 5, PerVolume: 5}
		}},
	}
}

func growthLoads() []workload {
	var all []workload
	for _, dimension := range dimensions() {
		for _, t := range times() {
			_, w := dimension.size(t)
			all = append(all, w)
		}
	}
	return all
}

// grow measures 1, 2, 4 and 8 times the volumes, the objects of each, the identities and the classes of a small node.
func (b *bench) grow(ctx context.Context) error {
	known := map[workload]figures{} // two dimensions begin with the same workload
	for _, dimension := range dimensions() {
		g := growth{Dimension: dimension.name, Exponents: map[string]float64{}}
		for _, t := range times() {
			size, w := dimension.size(t)
			f, measured := known[w]
			if !measured {
				var err error
				if f, err = b.figures(ctx, w, fmt.Sprintf("%d×, %s", t, dimension.name)); err != nil {
					return err
				}
				known[w] = f
			}
			g.Sizes, g.Figures = append(g.Sizes, size), append(g.Figures, f)
		}
		for _, c := range curves() {
			var values []float64
			for _, f := range g.Figures {
				values = append(values, c.of(f))
			}
			g.Exponents[c.name] = exponent(g.Sizes, values)
		}
		b.growth = append(b.growth, g)
	}
	return nil
}

// figures publishes a workload and refreshes it once.
func (b *bench) figures(ctx context.Context, w workload, name string) (f figures, err error) {
	pods, err := b.cluster.prepare(ctx, w)
	if err != nil {
		return f, err
	}
	kept := len(b.results)
	defer func() { b.results = b.results[:kept] }()
	return f, b.withNode(ctx, nodeSettings{refresh: b.intervalFor(w)}, func(n *node) error {
		published, err := inFlight(ctx, 20, len(pods), func(ctx context.Context, i int) error { return n.publish(ctx, pods[i], w.className(w.class(i))) })
		if err != nil || published.First != nil {
			return errorOf(err, published.First)
		}
		if _, err := b.settled(ctx, n); err != nil {
			return err
		}
		r, err := b.refreshOnce(ctx, n, w, pods, "growth", name, 0)
		if err != nil {
			return err
		}
		f = figures{Publish: milliseconds(published.Took), Refresh: r.Took, Azure: float64(r.Azure)}
		if n.ours() {
			f.CPU = r.CPU[n.driver.Name] + r.CPU[n.provider.Name]
			f.Driver, f.Provider = float64(r.RSS[n.driver.Name])/mib, float64(r.RSS[n.provider.Name])/mib
		}
		return nil
	})
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// exponent fits value = c·size^e by least squares of the logarithms and returns e; 0 where there is nothing to fit.
func exponent(sizes []int, values []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i, value := range values {
		if value <= 0 {
			continue
		}
		x, y := math.Log(float64(sizes[i])), math.Log(value)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; n >= 2 && d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
