// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the drawing, in pixels.
const (
	panelWidth, panelHeight = 360, 250
	marginLeft, marginTop   = 50, 30
	plotWidth, plotHeight   = 270, 150
)

// drawGrowth draws a panel for each dimension: figures relative to the smallest size, on logarithmic axes, so that a straight line is a power and its
// slope the exponent.
func drawGrowth(all []growth) []byte {
	var b strings.Builder
	const columns = 2
	rows := (len(all) + columns - 1) / columns
	legend := 20 * (len(curves()) + 1)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`, columns*panelWidth, rows*panelHeight+legend)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>`)
	for i, g := range all {
		drawPanel(&b, g, i%columns*panelWidth, i/columns*panelHeight)
	}
	for i, c := range curves() {
		y := rows*panelHeight + 20*(i+1)
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2"/>`, marginLeft, y-4, marginLeft+30, y-4, color(i))
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`, marginLeft+40, y, html.EscapeString(c.name))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func drawPanel(b *strings.Builder, g growth, x, y int) {
	const most = 16.0 // times the smallest, at the top; half of it, at the bottom
	across := func(size int) float64 {
		return float64(x+marginLeft) + plotWidth*math.Log2(float64(size)/float64(g.Sizes[0]))/math.Log2(float64(g.Sizes[len(g.Sizes)-1])/float64(g.Sizes[0]))
	}
	up := func(ratio float64) float64 {
		ratio = min(max(ratio, 0.5), most)
		return float64(y+marginTop) + plotHeight*(1-math.Log2(ratio*2)/math.Log2(most*2))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">growth with %s</text>`, x+marginLeft, y+18, html.EscapeString(g.Dimension))
	for ratio := 0.5; ratio <= most; ratio *= 2 {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, x+marginLeft, up(ratio), x+marginLeft+plotWidth, up(ratio))
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%g×</text>`, x+marginLeft-5, up(ratio)+4, ratio)
	}
	for _, size := range g.Sizes {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`, across(size), y+marginTop+plotHeight+15, size)
	}
	for i, c := range curves() {
		first := c.of(g.Figures[0])
		if first <= 0 {
			continue
		}
		var points []string
		for j, f := range g.Figures {
			points = append(points, fmt.Sprintf("%.1f,%.1f", across(g.Sizes[j]), up(c.of(f)/first)))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(points, " "), color(i))
	}
}

// color tells curves apart, also for those who do not see red and green apart (the palette of Okabe and Ito).
func color(i int) string {
	palette := []string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"}
	return palette[i%len(palette)]
}
