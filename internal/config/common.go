package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Log says what is logged, and how.
type Log struct {
	Level  string `mapstructure:"level"`
	Format string `mapstructure:"format"`
}

// Validate reports every problem at once.
func (l Log) Validate() error {
	return errors.Join(
		OneOf("level", l.Level, "debug", "info", "warn", "error"),
		OneOf("format", l.Format, "text", "json"),
	)
}

// Admin is the daemon's own side: status, metrics, local commands.
type Admin struct {
	Listen string `mapstructure:"listen"`
	Socket string `mapstructure:"socket"`
}

// Validate reports every problem at once.
func (a Admin) Validate() error {
	return errors.Join(Listenable("listen", a.Listen), Absolute("socket", a.Socket))
}

// Memory bounds the process.
type Memory struct {
	// Limit is what the Go runtime may hold before it collects harder.
	Limit Size `mapstructure:"limit"`
	// GrowthPercent is the runtime's GOGC.
	GrowthPercent int `mapstructure:"growth_percent"`
}

// Validate reports every problem at once.
func (m Memory) Validate() error {
	var errs []error
	if m.Limit != 0 && m.Limit < 32<<20 {
		errs = append(errs, fmt.Errorf("limit: %s is too little to work in; use 32MiB or more, or 0 for no limit", m.Limit))
	}
	if m.GrowthPercent < 10 || m.GrowthPercent > 1000 {
		errs = append(errs, fmt.Errorf("growth_percent: %d is out of range; use 10 to 1000", m.GrowthPercent))
	}
	return errors.Join(errs...)
}

// Shutdown says how a daemon ends.
type Shutdown struct {
	Grace time.Duration `mapstructure:"grace"`
}

// Validate reports every problem at once.
func (s Shutdown) Validate() error {
	if s.Grace < 0 || s.Grace > time.Hour {
		return fmt.Errorf("grace: %s is out of range; use 0s to 1h", s.Grace)
	}
	return nil
}

// DefaultLog is what a daemon logs unless told.
func DefaultLog() Log { return Log{Level: "info", Format: "text"} }

// DefaultMemory is of a daemon with little to hold:
// 64 MiB for the Go runtime and some 25 MiB of the program's own pages stay under
// a resident 96 MiB.
func DefaultMemory() Memory { return Memory{Limit: 64 << 20, GrowthPercent: 200} }

// OneOf refuses a value that is not one of a few.
func OneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %q", key, value, allowed)
}

// Listenable refuses what is not an address to listen on.
func Listenable(key, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %q is not an address; write host:port, such as 127.0.0.1:7410, or :7410 for all interfaces", key, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s: port %q of %q is not a number from 0 to 65535", key, port, address)
	} else if n == 0 && host == "" {
		return fmt.Errorf("%s: %q leaves both host and port open; name one", key, address)
	}
	return nil
}

// Absolute refuses a relative path.
func Absolute(key, path string) error {
	if filepath.IsAbs(path) {
		return nil
	}
	return fmt.Errorf("%s: %q is not an absolute path; write it from / on", key, path)
}

// Readable refuses a file that cannot be read; none is good.
func Readable(key, path string) error {
	if path == "" {
		return nil
	}
	if err := Absolute(key, path); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w; make it with `supernode key new`, or copy it from another node", key, err)
	}
	return file.Close()
}
