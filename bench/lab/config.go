//go:build linux

package lab

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// maxHosts bounds a lab to what its /24 can number.
const maxHosts = 200

// firstHost is the last octet of the first host's address.
const firstHost = 9

var hostName = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)

// Config describes a lab.
type Config struct {
	// Hosts are the names of the hosts, numbered from 10.77.0.9 in this order:
	// letters and digits, at most 12.
	Hosts []string
	// Rate is what each link carries in each direction. Zero: unshaped.
	Rate Rate
	// Burst is the bytes that may pass a link at once after a silence. Less
	// than a timer tick's worth (Rate/8/HZ) makes a link slower than its rate.
	Burst int
	// Latency is the longest that a packet may wait in a link's queue before it
	// is dropped. More hides loss behind delay; less drops bursts.
	Latency time.Duration
	// StoreBytes bounds the tmpfs under all the hosts' directories. Memory is
	// only taken as it is filled.
	StoreBytes int64
	// Log receives what the lab does, at debug level. Nil: nothing.
	Log *slog.Logger
}

// Default is the lab of Shoal's swarm measurements: an origin, a supernode and
// eight peers, 200 Mbit/s each way.
func Default() Config {
	return Config{
		Hosts:      append([]string{"origin", "supernode"}, Peers(8)...),
		Rate:       200 * Mbit,
		Burst:      256 << 10,
		Latency:    50 * time.Millisecond,
		StoreBytes: 12 << 30,
	}
}

// Peers returns the names peer1 to peerN.
func Peers(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("peer%d", i+1)
	}
	return names
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if len(c.Hosts) == 0 || len(c.Hosts) > maxHosts {
		errs = append(errs, fmt.Errorf("hosts: %d given, want 1 to %d", len(c.Hosts), maxHosts))
	}
	seen := make(map[string]bool)
	for _, name := range c.Hosts {
		if !hostName.MatchString(name) {
			errs = append(errs, fmt.Errorf("hosts: %q is not 1 to 12 lower-case letters and digits", name))
		}
		if seen[name] {
			errs = append(errs, fmt.Errorf("hosts: %q is given twice", name))
		}
		seen[name] = true
	}
	if c.Rate < 0 {
		errs = append(errs, fmt.Errorf("rate: %d is negative", c.Rate))
	}
	if c.Rate > 0 && (c.Burst <= 0 || c.Latency <= 0) {
		errs = append(errs, errors.New("burst and latency: both must be set when there is a rate"))
	}
	if c.StoreBytes <= 0 {
		errs = append(errs, errors.New("store bytes: must be more than zero"))
	}
	return errors.Join(errs...)
}
