package members

import (
	"errors"
	"fmt"

	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/layer"
)

// Remote is how layers become remote images.
type Remote struct {
	Parallel   int         `mapstructure:"parallel"`
	MaxPlain   config.Size `mapstructure:"max_plain"`
	MaxEntries int64       `mapstructure:"max_entries"`
	MaxRatio   int         `mapstructure:"max_ratio"`
}

// defaultRemote reads two layers side by side.
func defaultRemote() Remote {
	limits := layer.DefaultLimits()
	return Remote{Parallel: 2, MaxPlain: config.Size(limits.Plain), MaxEntries: limits.Entries, MaxRatio: limits.Ratio}
}

// Limits are what a layer may be.
func (r Remote) Limits() layer.Limits {
	limits := layer.DefaultLimits()
	limits.Plain, limits.Entries, limits.Ratio = int64(r.MaxPlain), r.MaxEntries, r.MaxRatio
	return limits
}

// Validate reports every problem at once.
func (r Remote) Validate() error {
	var errs []error
	if r.Parallel < 1 || r.Parallel > 64 {
		errs = append(errs, fmt.Errorf("parallel: %d is out of range; use 1 to 64", r.Parallel))
	}
	if r.MaxEntries < 0 || r.MaxRatio < 0 {
		errs = append(errs, errors.New("max_entries and max_ratio: use 0 for no limit, or a positive number"))
	}
	return errors.Join(errs...)
}
