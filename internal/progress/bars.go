package progress

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shoal-project/shoal/internal/pull"
)

// maxBars is how many objects have a bar at a time.
const maxBars = 10

// Bars draws a bar for each object that is arriving, and one line for all with
// the rate of each source. width is the terminal's, asked again at each drawing.
func Bars(w io.Writer, width func() int, now func() time.Time) Display {
	return &bars{w: w, width: width, tally: newTally(now)}
}

type bars struct {
	w     io.Writer
	width func() int
	tally *tally
	drawn int // lines of the last drawing, above the cursor
	ended bool
}

func (b *bars) Tell(e pull.Event) {
	var above []string
	if e.Digest != nil {
		above = append(above, fmt.Sprintf("%s is %s", e.Image, e.Digest))
	}
	if e.Notice != "" {
		above = append(above, e.Notice)
	}
	b.tally.add(e.Objects)
	if e.Done || e.Error != "" {
		b.ended = true
	}
	if e.Done {
		above = append(above, b.tally.summary(e.Image))
	}
	b.draw(above)
}

func (b *bars) Close() {
	b.ended = true
	b.draw(nil)
}

// draw replaces the last drawing; the lines in above stay for good. It writes
// once, so that the terminal never shows half of it.
func (b *bars) draw(above []string) {
	var out bytes.Buffer
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", b.drawn)
	}
	for _, line := range above {
		fmt.Fprintln(&out, line)
	}
	b.drawn = 0
	if !b.ended {
		lines := b.lines(max(b.width(), 40))
		b.drawn = len(lines)
		for _, line := range lines {
			fmt.Fprintln(&out, line)
		}
	}
	_, _ = b.w.Write(out.Bytes())
}

func (b *bars) lines(width int) []string {
	var lines []string
	done, waiting := 0, 0
	for _, digest := range b.tally.order {
		o := b.tally.objects[digest]
		switch {
		case o.Done:
			done++
		case o.Present() == 0 || len(lines) == maxBars:
			waiting++
		default:
			head := fmt.Sprintf("%-8s %s", o.Kind, short(o))
			lines = append(lines, fit(head, o.Present(), o.Size, "", width))
		}
	}
	if len(b.tally.order) == 0 {
		return nil
	}
	present, size, _ := b.tally.totals()
	head := fmt.Sprintf("%d of %d done", done, len(b.tally.order))
	if waiting > 0 {
		head += fmt.Sprintf(", %d waiting", waiting)
	}
	return append(lines, fit(head, present, size, b.ratesText(), width))
}

func (b *bars) ratesText() string {
	rates := b.tally.rates()
	var texts []string
	for _, s := range sources {
		if rate := rates[s.key]; rate > 0 {
			texts = append(texts, s.name+" "+Bytes(int64(rate))+"/s")
		}
	}
	return strings.Join(texts, ", ")
}

// fit makes one line of exactly what fits: a head, a bar, the bytes, a tail.
func fit(head string, present, size int64, tail string, width int) string {
	counts := fmt.Sprintf("%8s / %s", Bytes(present), Bytes(size))
	text := fmt.Sprintf("%-24s %%s %s  %s", head, counts, tail)
	room := width - 1 - (utf8.RuneCountInString(text) - len("%s"))
	bar := ""
	if room >= 8 {
		bar = gauge(present, size, min(room, 40))
	}
	line := strings.TrimRight(strings.Replace(text, "%s", bar, 1), " ")
	if utf8.RuneCountInString(line) >= width {
		line = string([]rune(line)[:width-1])
	}
	return line
}

func gauge(present, size int64, cells int) string {
	inner := cells - 2
	full := inner
	if size > 0 {
		full = int(min(present, size) * int64(inner) / size)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", inner-full) + "]"
}
