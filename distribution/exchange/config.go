package exchange

import (
	"errors"
	"fmt"
	"time"
)

// Security is how requests and bodies are protected.
type Security string

// The kinds of security. All nodes of a cluster use the same.
const (
	// TLS encrypts everything: about 2 CPU seconds a GiB on both ends together.
	TLS Security = "tls"
	// Clear protects requests only; anybody on the path can read the bytes, and
	// spoil them, which is noticed. About 0.9 CPU seconds a GiB.
	Clear Security = "clear"
)

// Config sets up both ends.
type Config struct {
	// Security is the same on every node of a cluster.
	Security Security `mapstructure:"security"`
	// Slots is how many uploads may run at once; more are told to come back.
	// Higher serves more nodes at a time, each more slowly.
	Slots int `mapstructure:"slots"`
	// MaxConns bounds connections to the server. Idle ones cost about 20 KiB.
	MaxConns int `mapstructure:"max_conns"`
	// Stall is how long an upload waits for bytes that are on their way to this
	// node, or for the asker to take some, before it gives up. Lower frees slots
	// sooner; too low cuts uploads off over slow links.
	Stall time.Duration `mapstructure:"stall"`
	// FirstByte is how long a request may wait for its first byte before the
	// asker is told to come back. Keep it below ResponseTimeout.
	FirstByte time.Duration `mapstructure:"first_byte"`
	// RequestTimeout bounds a handshake, and the sending of a request's header.
	RequestTimeout time.Duration `mapstructure:"request_timeout"`
	// DialTimeout bounds connecting to another node, and its handshake.
	DialTimeout time.Duration `mapstructure:"dial_timeout"`
	// ResponseTimeout is how long another node may take to begin its answer.
	ResponseTimeout time.Duration `mapstructure:"response_timeout"`
	// IdleConns is how many unused connections to one node are kept, and
	// IdleTimeout for how long; the server keeps them half as long again.
	IdleConns   int           `mapstructure:"idle_conns"`
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`
}

// Default is fit for a data-centre LAN.
func Default() Config {
	return Config{
		Security: TLS, Slots: 64, MaxConns: 2048,
		Stall: 10 * time.Second, FirstByte: 5 * time.Second, RequestTimeout: 5 * time.Second,
		DialTimeout: 3 * time.Second, ResponseTimeout: 10 * time.Second,
		IdleConns: 16, IdleTimeout: time.Minute,
	}
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Security == TLS || c.Security == Clear, "security is %q: set %q or %q", c.Security, TLS, Clear)
	check(c.Slots > 0, "slots is %d: set at least 1", c.Slots)
	check(c.MaxConns > 0, "max_conns is %d: set at least 1", c.MaxConns)
	check(c.IdleConns >= 0, "idle_conns is %d: set 0 or more", c.IdleConns)
	for _, d := range []struct {
		name string
		is   time.Duration
	}{
		{"stall", c.Stall}, {"first_byte", c.FirstByte}, {"request_timeout", c.RequestTimeout},
		{"dial_timeout", c.DialTimeout}, {"response_timeout", c.ResponseTimeout}, {"idle_timeout", c.IdleTimeout},
	} {
		check(d.is > 0, "%s is %s: set more than 0", d.name, d.is)
	}
	return errors.Join(errs...)
}
