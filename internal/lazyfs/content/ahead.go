//go:build linux

package content

import (
	"context"

	"github.com/shoal-project/shoal/chunk"
)

// maxAhead is how many chunks may wait to be read ahead; hints beyond are
// dropped: the read itself will ask.
const maxAhead = 256

// aheadJob is a run of blocks that will be wanted soon.
type aheadJob struct {
	object     *object
	image      *Image
	first, end int
}

// readAhead queues the missing blocks of a range, a chunk at most at a time.
func (o *object) readAhead(m *Image, first, end int) {
	for _, job := range o.expect(m, first, end) {
		select {
		case o.table.ahead <- job:
		default:
			o.table.metric.dropped.Inc()
			o.note(job.first, job.end, -1)
		}
	}
}

// expect notes blocks that are missing and that nobody asked for.
func (o *object) expect(m *Image, first, end int) (jobs []aheadJob) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for b := o.have.NextClear(first); b < end; b = o.have.NextClear(b) {
		job := aheadJob{o, m, b, b}
		limit := min(end, (b/chunk.BlocksPerChunk+1)*chunk.BlocksPerChunk)
		for ; job.end < limit && !o.have.Has(job.end) && o.asked[job.end] == 0; job.end++ {
			o.asked[job.end]++
		}
		if b = max(job.end, b+1); job.end > job.first {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// runAhead works the queue off until the table closes. A failure is left to the
// read that comes.
func (t *Table) runAhead() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case job := <-t.ahead:
			if !t.away.Load() {
				ctx, cancel := context.WithTimeout(t.ctx, t.cfg.Attempt)
				_ = job.object.ask(ctx, job.image, job.first, job.end, byAhead) // the read that comes will tell
				cancel()
			}
			job.object.note(job.first, job.end, -1)
		}
	}
}
