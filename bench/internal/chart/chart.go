// SPDX-License-Identifier: Apache-2.0

// Package chart draws curves as SVG: panels on logarithmic or linear axes, with one legend.
package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the drawing, in pixels.
const (
	panelWidth, panelHeight = 420, 290
	marginLeft, marginTop   = 66, 34
	plotWidth, plotHeight   = 330, 190
	legendLine              = 20
)

// A Curve is a line through points. Curves of one name have one color in all panels.
type Curve struct {
	Name string
	X, Y []float64
	// Dashed is for what is no measurement, such as a limit.
	Dashed bool
}

// A Panel is a drawing with axes of its own. On a logarithmic axis, what is not above 0 is left out.
type Panel struct {
	Title, XLabel string
	LogX, LogY    bool
	Curves        []Curve
}

// Color tells curves apart, also for those who do not see red and green apart (the palette of Okabe and Ito).
func Color(i int) string {
	palette := []string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"}
	return palette[i%len(palette)]
}

// Draw draws panels in rows of two.
func Draw(panels []Panel) []byte {
	const columns = 2
	names := namesOf(panels)
	rows := (len(panels) + columns - 1) / columns
	width := min(columns, len(panels)) * panelWidth
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", width, rows*panelHeight+legendLine*(len(names)+1))
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i, p := range panels {
		d := drawing{Panel: p, b: &b, names: names, left: i%columns*panelWidth + marginLeft, top: i/columns*panelHeight + marginTop}
		d.scale()
		d.axes()
		d.curves()
	}
	for i, c := range names {
		y := rows*panelHeight + legendLine*(i+1)
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d"%s/>`, marginLeft, y-4, marginLeft+30, y-4, stroke(i, c.Dashed))
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", marginLeft+40, y, html.EscapeString(c.Name))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// namesOf are the curves of different names, in order.
func namesOf(panels []Panel) []Curve {
	var names []Curve
	seen := map[string]bool{}
	for _, p := range panels {
		for _, c := range p.Curves {
			if !seen[c.Name] {
				seen[c.Name] = true
				names = append(names, c)
			}
		}
	}
	return names
}

func stroke(i int, dashed bool) string {
	style := fmt.Sprintf(` stroke="%s" stroke-width="2"`, Color(i))
	if dashed {
		style += ` stroke-dasharray="6 4"`
	}
	return style
}

// drawing is a panel being drawn. Its bounds are logarithms on logarithmic axes.
type drawing struct {
	Panel
	b                      *strings.Builder
	names                  []Curve
	left, top              int
	minX, maxX, minY, maxY float64
}

func (d *drawing) drawn(x, y float64) bool { return (!d.LogX || x > 0) && (!d.LogY || y > 0) }

func (d *drawing) scale() {
	d.minX, d.minY, d.maxX, d.maxY = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, c := range d.Curves {
		for i, x := range c.X {
			if d.drawn(x, c.Y[i]) {
				d.minX, d.maxX = min(d.minX, along(x, d.LogX)), max(d.maxX, along(x, d.LogX))
				d.minY, d.maxY = min(d.minY, along(c.Y[i], d.LogY)), max(d.maxY, along(c.Y[i], d.LogY))
			}
		}
	}
	if d.LogY {
		d.minY, d.maxY = math.Floor(d.minY), math.Ceil(d.maxY)
	} else {
		d.minY = min(d.minY, 0)
	}
	if !(d.maxX > d.minX) { // a single value, or none at all
		d.minX, d.maxX = d.minX-1, d.minX+1
	}
	if !(d.maxY > d.minY) {
		d.maxY = d.minY + 1
	}
}

func along(v float64, logarithmic bool) float64 {
	if logarithmic {
		return math.Log10(v)
	}
	return v
}

func (d *drawing) across(x float64) float64 {
	return float64(d.left) + plotWidth*(along(x, d.LogX)-d.minX)/(d.maxX-d.minX)
}

func (d *drawing) up(y float64) float64 {
	return float64(d.top) + plotHeight*(1-(along(y, d.LogY)-d.minY)/(d.maxY-d.minY))
}

func (d *drawing) axes() {
	fmt.Fprintf(d.b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", d.left, d.top-14, html.EscapeString(d.Title))
	for _, y := range ticks(d.minY, d.maxY, d.LogY) {
		at := d.up(y)
		fmt.Fprintf(d.b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, d.left, at, d.left+plotWidth, at)
		fmt.Fprintf(d.b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", d.left-5, at+4, short(y))
	}
	for _, x := range ticks(d.minX, d.maxX, d.LogX) {
		fmt.Fprintf(d.b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", d.across(x), d.top+plotHeight+15, short(x))
	}
	fmt.Fprintf(d.b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", d.left+plotWidth/2, d.top+plotHeight+30, html.EscapeString(d.XLabel))
}

func (d *drawing) curves() {
	for _, c := range d.Curves {
		var points []string
		for i, x := range c.X {
			if d.drawn(x, c.Y[i]) {
				points = append(points, fmt.Sprintf("%.1f,%.1f", d.across(x), d.up(c.Y[i])))
			}
		}
		for i, named := range d.names {
			if named.Name == c.Name {
				fmt.Fprintf(d.b, `<polyline points="%s" fill="none"%s/>`+"\n", strings.Join(points, " "), stroke(i, c.Dashed))
			}
		}
	}
}

// ticks are the round values of an axis, whose bounds are logarithms where it is logarithmic.
func ticks(from, to float64, logarithmic bool) []float64 {
	const epsilon = 1e-9
	var all []float64
	if logarithmic {
		for power := math.Ceil(from - epsilon); power <= to+epsilon; power++ {
			all = append(all, math.Pow(10, power))
		}
		return all
	}
	step := math.Pow(10, math.Floor(math.Log10((to-from)/2)))
	for (to-from)/step > 8 {
		step *= 2
	}
	for v := math.Ceil(from/step) * step; v <= to+epsilon; v += step {
		all = append(all, v)
	}
	return all
}

// short writes 1000 as 1k.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
