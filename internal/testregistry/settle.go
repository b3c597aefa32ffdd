package testregistry

import (
	"context"
	"fmt"
	"os"
	"time"
)

// The registry writes a request's line after the client has its last byte, so a
// reader waits until the log has been still for a while.
const (
	stillness = 50 * time.Millisecond
	stillFor  = 4 // consecutive times
)

// Mark is a position in the log.
type Mark int64

// Mark returns the log's end, once it is still.
func (r *Debian) Mark(ctx context.Context) (Mark, error) {
	last, same := int64(-1), 0
	for same < stillFor {
		info, err := os.Stat(r.logFile())
		if err != nil {
			return 0, err
		}
		if info.Size() == last {
			same++
		} else {
			last, same = info.Size(), 0
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for the access log to be still: %w", ctx.Err())
		case <-time.After(stillness):
		}
	}
	return Mark(last), nil
}

// Log is what was answered since a mark (0 is the start), once the log is still.
func (r *Debian) Log(ctx context.Context, since Mark) (Log, error) {
	if _, err := r.Mark(ctx); err != nil {
		return nil, err
	}
	return r.LogNow(since)
}

// LogNow is [Debian.Log] without waiting: requests under way are missing.
func (r *Debian) LogNow(since Mark) (Log, error) {
	f, err := os.Open(r.logFile())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(int64(since), 0); err != nil {
		return nil, err
	}
	return ParseLog(f)
}
