package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// Config sets up a node's control port.
type Config struct {
	// Listen is host:port of the control port. Empty: this node dials only, and
	// neighbours cannot reach it. An empty host is every interface.
	Listen string `mapstructure:"listen"`
	// Keepalive is how long a connection may be silent before it is probed, and
	// then how long the answer may take; a machine that vanished is noticed
	// within twice this. Lower notices sooner and costs a packet each way as
	// often; much below 1s, a busy machine looks like a dead one.
	Keepalive time.Duration `mapstructure:"keepalive"`
	// DialTimeout bounds connecting and all handshakes.
	DialTimeout time.Duration `mapstructure:"dial_timeout"`
	// WriteTimeout is how long a stream may make no progress in writing before
	// it is closed. Lower frees memory of stuck nodes sooner; too low closes
	// streams over busy links.
	WriteTimeout time.Duration `mapstructure:"write_timeout"`
	// QueueMessages and QueueBytes bound what waits to be written on one stream.
	// Higher rides out longer pauses of the other side, and holds more memory
	// for each stuck one.
	QueueMessages int `mapstructure:"queue_messages"`
	QueueBytes    int `mapstructure:"queue_bytes"`
	// MaxConns bounds connections, both ways: nodes of the cluster and some to
	// spare. Each costs about 100 KiB.
	MaxConns int `mapstructure:"max_conns"`
}

// Default is fit for a cluster of up to a few thousand nodes. The caller sets
// Listen.
func Default() Config {
	return Config{
		Keepalive:     6 * time.Second,
		DialTimeout:   5 * time.Second,
		WriteTimeout:  10 * time.Second,
		QueueMessages: 4096,
		QueueBytes:    4 << 20,
		MaxConns:      4096,
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
	if c.Listen != "" {
		_, _, err := splitHostPort(c.Listen)
		check(err == nil, "listen: %w", err)
	}
	check(c.Keepalive > 0, "keepalive is %s: set more than 0, for example 6s", c.Keepalive)
	check(c.DialTimeout > 0, "dial_timeout is %s: set more than 0, for example 5s", c.DialTimeout)
	check(c.WriteTimeout > 0, "write_timeout is %s: set more than 0, for example 10s", c.WriteTimeout)
	check(c.QueueMessages > 0, "queue_messages is %d: set at least 1", c.QueueMessages)
	check(c.QueueBytes >= distribution.MaxMessage, "queue_bytes is %d: set at least %d, one message",
		c.QueueBytes, distribution.MaxMessage)
	check(c.MaxConns > 0, "max_conns is %d: set at least 1", c.MaxConns)
	return errors.Join(errs...)
}
