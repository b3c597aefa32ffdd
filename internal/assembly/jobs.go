package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/internal/pull"
)

// maxJobs bounds the pulls that wait in the background.
const maxJobs = 256

// jobs are pulls of whole images: those that somebody waits for, and those that
// run by themselves, one at a time.
type jobs struct {
	puller *pull.Puller
	log    *slog.Logger
	queue  chan pull.Request
	// prepare has an image's tree derived; nil where that is not done.
	prepare func(ctx context.Context, r pull.Request) error
}

func newJobs(p *pull.Puller, log *slog.Logger) *jobs {
	return &jobs{puller: p, log: log, queue: make(chan pull.Request, maxJobs)}
}

func (j *jobs) pull(ctx context.Context, r pull.Request, tell func(pull.Event)) error {
	if !r.Lazy {
		return j.puller.Pull(ctx, r, tell)
	}
	last := pull.Event{Image: r.Image, Done: true}
	err := j.puller.Pull(ctx, r, func(e pull.Event) {
		if !e.Done && e.Error == "" {
			tell(e)
		}
	})
	if err == nil {
		tell(pull.Event{Image: r.Image, Notice: "making it ready to start lazily"})
		err = j.lazily(ctx, r)
	}
	if err != nil {
		last = pull.Event{Image: r.Image, Error: err.Error()}
	}
	tell(last)
	return err
}

func (j *jobs) lazily(ctx context.Context, r pull.Request) error {
	if j.prepare == nil {
		return errors.New("this daemon prepares no lazy images; ask the supernode")
	}
	if err := j.prepare(ctx, r); err != nil {
		return fmt.Errorf("%s cannot be served lazily: %w", r.Image, err)
	}
	return nil
}

// start has a pull run in the background.
func (j *jobs) start(r pull.Request) error {
	select {
	case j.queue <- r:
		return nil
	default:
		return errors.New("too many images wait to be fetched; try again later, or use --wait")
	}
}

// run works the queue off until ctx ends.
func (j *jobs) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-j.queue:
			began := time.Now()
			if err := j.pull(ctx, r, func(pull.Event) {}); err != nil {
				j.log.Error("fetching an image in the background", "image", r.Image, "error", err)
				continue
			}
			j.log.Info("fetched an image in the background", "image", r.Image, "took", time.Since(began))
		}
	}
}

func (p *parts) puller(engine *download.Engine) *pull.Puller {
	return &pull.Puller{
		Objects: engine, Origin: p.origin, Parallel: 6, Interval: 200 * time.Millisecond,
		Sources: func(d chunk.Digest) map[string]int64 {
			x, _ := engine.Explain(d)
			bytes := make(map[string]int64, len(x.Parts))
			for _, part := range x.Parts {
				bytes[part.Kind] += part.Bytes
			}
			return bytes
		},
	}
}

func explain(engine *download.Engine) func(chunk.Digest) (any, bool) {
	return func(d chunk.Digest) (any, bool) { return engine.Explain(d) }
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
