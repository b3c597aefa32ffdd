//go:build linux

package lazyfs

import (
	"context"
	"errors"

	"github.com/shoal-project/shoal/internal/nodeapi"
)

// explainWaits says of waits whose first attempt has not failed yet what is known:
// the peer's words, or that it does not answer. An attempt may take long.
func (d *Daemon) explainWaits(ctx context.Context, images []ImageStatus) {
	var unexplained []*Wait
	var ranges []nodeapi.Range
	for i := range images {
		for j := range images[i].Waits {
			if w := &images[i].Waits[j]; w.Reason == "" && len(ranges) < nodeapi.MaxRanges {
				unexplained = append(unexplained, w)
				ranges = append(ranges, nodeapi.Range{Object: w.Object, Offset: w.Offset, Length: w.Length})
			}
		}
	}
	if len(ranges) == 0 {
		return
	}
	reasons, err := d.peer.Why(ctx, ranges)
	for i, w := range unexplained {
		switch {
		case err == nil:
			w.Reason = reasons[i]
		case errors.Is(err, nodeapi.ErrAway):
			w.Reason = err.Error()
		default: // ctx ended, most likely
			w.Reason = "the peer has not answered yet: " + err.Error()
		}
	}
}
