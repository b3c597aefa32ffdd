package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shoal-project/shoal/internal/pull"
)

// Display shows the pull of one image.
type Display interface {
	Tell(pull.Event)
	// Close is called once, after the last event.
	Close()
}

// Lines writes every event as a line of JSON.
func Lines(w io.Writer) Display { return &lines{encoder: json.NewEncoder(w)} }

type lines struct{ encoder *json.Encoder }

func (l *lines) Tell(e pull.Event) { _ = l.encoder.Encode(e) }
func (l *lines) Close()            {}

// Quiet writes the digest of an image that was pulled, and nothing else.
func Quiet(w io.Writer) Display { return &quiet{w: w} }

type quiet struct {
	w      io.Writer
	digest string
}

func (q *quiet) Tell(e pull.Event) {
	if e.Digest != nil {
		q.digest = e.Digest.String()
	}
	if e.Done {
		_, _ = fmt.Fprintln(q.w, q.digest)
	}
}
func (q *quiet) Close() {}

// Plain writes a line for each object that arrived, and a last one for all.
func Plain(w io.Writer, now func() time.Time) Display {
	return &plain{w: w, tally: newTally(now)}
}

type plain struct {
	w     io.Writer
	tally *tally
}

func (p *plain) Tell(e pull.Event) {
	if e.Digest != nil {
		_, _ = fmt.Fprintf(p.w, "%s is %s\n", e.Image, e.Digest)
	}
	if e.Notice != "" {
		_, _ = fmt.Fprintln(p.w, e.Notice)
	}
	for _, o := range p.tally.add(e.Objects) {
		_, _ = fmt.Fprintf(p.w, "%-8s %s %9s  %s\n", o.Kind, short(o), Bytes(o.Size), parts(o.Bytes))
	}
	if e.Done {
		_, _ = fmt.Fprintln(p.w, p.tally.summary(e.Image))
	}
}
func (p *plain) Close() {}

func short(o pull.Object) string { return o.Digest.Hex()[:12] }

// sources in the order in which they are shown, with their names for people.
var sources = []struct{ key, name string }{
	{pull.FromStore, "already here"}, {pull.FromOrigin, "origin"},
	{pull.FromSupernode, "supernode"}, {pull.FromPeer, "peers"},
}

// parts says how many bytes each source gave: "origin 1.0 MB, peers 3.1 MB".
func parts(bySource map[string]int64) string {
	var texts []string
	for _, s := range sources {
		if n := bySource[s.key]; n > 0 {
			texts = append(texts, s.name+" "+Bytes(n))
		}
	}
	return strings.Join(texts, ", ")
}

// Bytes writes a number of bytes for people, in decimal units as disks and
// links are sold.
func Bytes(n int64) string {
	value, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB"}
	for value >= 999.5 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	if value < 99.95 {
		return fmt.Sprintf("%.1f %s", value, units[unit])
	}
	return fmt.Sprintf("%.0f %s", value, units[unit])
}
