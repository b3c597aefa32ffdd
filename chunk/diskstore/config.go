package diskstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// Config says how much a store may hold and how it treats its disk.
type Config struct {
	// Quota is how many bytes of content the store may hold; 0 is no limit. Side
	// files (about 0.01 % of it) come on top. More keeps images longer, for the
	// next pull and for other nodes; less leaves the disk to others.
	Quota int64 `mapstructure:"quota"`
	// HighWatermark is the part of Quota (0 to 1) above which the least recently
	// used objects are evicted in the background. Higher uses more of the quota;
	// lower makes it rarer that a write has to wait for an eviction.
	HighWatermark float64 `mapstructure:"high_watermark"`
	// LowWatermark is the part of Quota that an eviction goes down to. Higher
	// evicts little and often; lower seldom and much.
	LowWatermark float64 `mapstructure:"low_watermark"`
	// MinFree is how many bytes of the file system stay free for others: below
	// it, the store evicts, and then refuses to grow. 0 is no floor.
	MinFree int64 `mapstructure:"min_free"`
	// SyncBytes is how much content may wait to be made durable. More lets pulls
	// run at memory speed for longer; less leaves less to verify by reading after
	// a crash. 0 syncs each chunk.
	SyncBytes int64 `mapstructure:"sync_bytes"`
	// SyncInterval is how long content may wait to be made durable. 0 is for
	// ever: then only SyncBytes and Close count.
	SyncInterval time.Duration `mapstructure:"sync_interval"`
	// OnEvict, if set, is told of every object that was evicted. It is called
	// without locks, from the goroutine that evicted.
	OnEvict func(chunk.Digest) `mapstructure:"-"`
}

// Default is a store of up to 64 GiB that leaves 2 GiB of the disk free.
func Default() Config {
	return Config{
		Quota:         64 << 30,
		HighWatermark: 0.95,
		LowWatermark:  0.85,
		MinFree:       2 << 30,
		SyncBytes:     64 << 20,
		SyncInterval:  2 * time.Second,
	}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Quota >= 0, "quota is %d bytes: set 0 (no limit) or more", c.Quota)
	check(c.MinFree >= 0, "min_free is %d bytes: set 0 (no floor) or more", c.MinFree)
	check(c.SyncBytes >= 0, "sync_bytes is %d: set 0 (every chunk) or more", c.SyncBytes)
	check(c.SyncInterval >= 0, "sync_interval is %v: set 0 (never by time) or more", c.SyncInterval)
	if c.Quota > 0 {
		check(c.HighWatermark > 0 && c.HighWatermark <= 1, "high_watermark is %v: set a part of the quota, above 0 and up to 1", c.HighWatermark)
		check(c.LowWatermark >= 0 && c.LowWatermark <= c.HighWatermark, "low_watermark is %v: set 0 up to high_watermark (%v)", c.LowWatermark, c.HighWatermark)
	}
	return errors.Join(errs...)
}
