//go:build linux

package content

import (
	"context"
	"sync"

	"github.com/shoal-project/shoal/chunk"
)

// maxAhead is how many chunks of an image may wait to be read ahead; hints beyond
// are dropped: the read itself will ask.
const maxAhead = 256

// aheadJob is a run of blocks that will be wanted soon.
type aheadJob struct {
	object     *object
	first, end int
}

// ahead has what of an image is to be read ahead.
type ahead struct {
	mu      sync.Mutex
	jobs    []aheadJob
	workers int // that run; each ends when there is no job
}

// readAhead queues the missing blocks of a range, a chunk at most at a time.
func (m *Image) readAhead(o *object, first, end int) {
	if m.table.cfg.Ahead == 0 {
		return
	}
	for _, job := range o.expect(first, end) {
		if !m.queue(job) {
			m.table.metric.dropped.Inc()
			o.note(job.first, job.end, -1)
		}
	}
}

func (m *Image) queue(job aheadJob) bool {
	a := &m.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.jobs) == maxAhead {
		return false
	}
	if a.workers < m.table.cfg.Ahead {
		if !m.table.run(m.runAhead) {
			return false
		}
		a.workers++
	}
	a.jobs = append(a.jobs, job)
	return true
}

// next is the next job; without one, the worker that asks ends.
func (a *ahead) next() (job aheadJob, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.jobs) == 0 {
		a.workers--
		a.jobs = nil
		return aheadJob{}, false
	}
	job = a.jobs[0]
	a.jobs = a.jobs[1:]
	return job, true
}

// expect notes blocks that are missing and that nobody asked for.
func (o *object) expect(first, end int) (jobs []aheadJob) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for b := o.have.NextClear(first); b < end; b = o.have.NextClear(b) {
		job := aheadJob{o, b, b}
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

// runAhead works the queue off. A failure is left to the read that comes.
func (m *Image) runAhead() {
	for job, ok := m.ahead.next(); ok; job, ok = m.ahead.next() {
		if m.ctx.Err() == nil && !m.table.away.Load() {
			ctx, cancel := context.WithTimeout(m.ctx, m.table.cfg.Attempt)
			_ = job.object.ask(ctx, m, job.first, job.end, byAhead) // the read that comes will tell
			cancel()
		}
		job.object.note(job.first, job.end, -1)
	}
}
