package progress

import (
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/pull"
)

// rateWindow is how far back a shown rate looks.
const rateWindow = 2 * time.Second

// tally keeps what events said of an image's objects.
type tally struct {
	now     func() time.Time
	began   time.Time
	order   []chunk.Digest
	objects map[chunk.Digest]pull.Object
	samples []sample // of the last rateWindow, oldest first
}

// sample is how many bytes had come from each source at a time.
type sample struct {
	at    time.Time
	bytes map[string]int64
}

func newTally(now func() time.Time) *tally {
	return &tally{now: now, began: now(), objects: map[chunk.Digest]pull.Object{}}
}

// add takes news in, and gives back the objects that they complete.
func (t *tally) add(news []pull.Object) (completed []pull.Object) {
	for _, o := range news {
		before, known := t.objects[o.Digest]
		if !known {
			t.order = append(t.order, o.Digest)
		}
		if o.Done && !before.Done {
			completed = append(completed, o)
		}
		t.objects[o.Digest] = o
	}
	if len(news) > 0 {
		t.sample()
	}
	return completed
}

func (t *tally) sample() {
	now := t.now()
	_, _, bySource := t.totals()
	t.samples = append(t.samples, sample{now, bySource})
	for len(t.samples) > 2 && now.Sub(t.samples[0].at) > rateWindow {
		t.samples = t.samples[1:]
	}
}

func (t *tally) totals() (present, size int64, bySource map[string]int64) {
	bySource = map[string]int64{}
	for _, o := range t.objects {
		size += o.Size
		present += o.Present()
		for source, n := range o.Bytes {
			bySource[source] += n
		}
	}
	return present, size, bySource
}

// rates are bytes per second by source, over the last samples.
func (t *tally) rates() map[string]float64 {
	rates := map[string]float64{}
	if len(t.samples) < 2 {
		return rates
	}
	first, last := t.samples[0], t.samples[len(t.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	for source, n := range last.bytes {
		if gained := n - first.bytes[source]; gained > 0 && seconds > 0 && source != pull.FromStore {
			rates[source] = float64(gained) / seconds
		}
	}
	return rates
}

// summary is the last line of a pull.
func (t *tally) summary(image string) string {
	_, size, bySource := t.totals()
	took := t.now().Sub(t.began)
	text := fmt.Sprintf("%s: %s in %s", image, Bytes(size), took.Round(10*time.Millisecond))
	if from := parts(bySource); from != "" {
		text += " (" + from + ")"
	}
	return text
}
