package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// panel is one group of bars in the picture.
type panel struct {
	title string
	bars  []bar
}

type bar struct {
	name  string
	value float64
}

func newPanel(title string) *panel { return &panel{title: title} }

// add adds a bar. Names that are bold in a table are Rollcall's, and select the color.
func (p *panel) add(name string, value float64) {
	if !math.IsNaN(value) {
		p.bars = append(p.bars, bar{name, value})
	}
}

// Dimensions of the picture, in pixels.
const (
	plotWidth  = 860
	labelWidth = 270
	valueWidth = 70
	barHeight  = 15
	barStep    = 20
	titleStep  = 34
	plotMargin = 16
)

// drawPanels returns the picture as SVG. Bars start at zero, so that their lengths compare as the
// figures do.
func drawPanels(panels []*panel) []byte {
	height := plotMargin
	for _, p := range panels {
		height += titleStep + barStep*len(p.bars)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13">`+"\n",
		plotWidth, height+plotMargin)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height+plotMargin)
	y := plotMargin
	for _, p := range panels {
		y = p.draw(&b, y)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws the panel from y on, and returns its end.
func (p *panel) draw(b *bytes.Buffer, y int) int {
	largest := 0.0
	for _, bar := range p.bars {
		largest = max(largest, bar.value)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", plotMargin, y+18, escape(p.title))
	y += titleStep - 6
	for _, bar := range p.bars {
		name, color := strings.ReplaceAll(bar.name, "**", ""), "#9aa7b4"
		switch {
		case name != bar.name:
			color = "#0b7a5c"
		case strings.Contains(name, "(floor)"):
			color = "#d5dbe1"
		}
		length := 0.0
		if largest > 0 {
			length = bar.value / largest * (plotWidth - 2*plotMargin - labelWidth - valueWidth)
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, plotMargin+labelWidth-8, y+12, escape(name))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotMargin+labelWidth, y, max(length, 1), barHeight, color)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", plotMargin+labelWidth+length+6, y+12, number(bar.value))
		y += barStep
	}
	return y + 6
}

func escape(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		panic(err) // a strings.Builder cannot fail
	}
	return b.String()
}
