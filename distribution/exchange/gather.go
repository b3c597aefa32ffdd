package exchange

import (
	"net"
	"sync/atomic"
)

// gatherer is a connection that wakes its reader for a good many bytes at a time
// instead of for every packet. On a shared link a run of blocks trickles in
// beside a dozen others, and a wake-up for each packet costs more CPU than the
// bytes themselves.
//
// It relies on knowing how many bytes will certainly come: it never waits for
// more of them than that, nor across the end of a block, so that no block is
// later than it must be.
type gatherer struct {
	*net.TCPConn
	certain atomic.Int64 // bytes of the block that the reader has not been given
	mark    int          // what the socket is set to; by the one reader
}

const (
	// gather is how many bytes one wake-up is worth.
	gather = 64 << 10
	// between is at most what lies between the socket and the reader: a TLS
	// record, what TLS read behind it, and HTTP's buffer.
	between = 16<<10 + 32<<10 + readBuffer
)

func newGatherer(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	return &gatherer{TCPConn: tcp, mark: 1}
}

// Read implements net.Conn.
func (g *gatherer) Read(p []byte) (int, error) {
	mark := 1
	if sure := g.certain.Load() - between; sure > 1 {
		mark = int(min(sure, gather))
	}
	if mark != g.mark && (mark == 1 || mark >= gather/2) && setLowWater(g.TCPConn, mark) == nil {
		g.mark = mark
	}
	return g.TCPConn.Read(p)
}

// gathererOf finds the gatherer under a connection that may be TLS; nil if there
// is none.
func gathererOf(c net.Conn) *gatherer {
	for {
		switch under := c.(type) {
		case *gatherer:
			return under
		case interface{ NetConn() net.Conn }:
			c = under.NetConn()
		default:
			return nil
		}
	}
}
