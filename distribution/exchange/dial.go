package exchange

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/shoal-project/shoal/distribution"
)

const (
	readBuffer  = 64 << 10
	maxIdle     = 1024
	maxSessions = 1024
)

// poolKey spells a member as a URL host, so that a connection is only ever used
// for the node that it was opened to. It is never resolved.
func poolKey(m distribution.Member) string {
	return string(m.ID) + "." + hex.EncodeToString([]byte(m.Chunks))
}

func parsePoolKey(addr string) (id distribution.NodeID, hostPort string, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	name, address, _ := strings.Cut(host, ".")
	raw, err := hex.DecodeString(address)
	return distribution.NodeID(name), string(raw), err
}

// dialer opens connections for the transport.
type dialer struct {
	cfg      Config
	tls      *tls.Config
	sessions tls.ClientSessionCache
	m        *Metrics
}

func newTransport(cfg Config, key crypto.PrivKey, m *Metrics) (*http.Transport, error) {
	d := &dialer{cfg: cfg, sessions: tls.NewLRUClientSessionCache(maxSessions), m: m}
	var err error
	if d.tls, err = tlsConfig(key, nil); err != nil {
		return nil, err
	}
	return &http.Transport{
		DialContext:            d.dialClear,
		DialTLSContext:         d.dialTLS,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    cfg.IdleConns,
		DisableKeepAlives:      cfg.IdleConns == 0,
		IdleConnTimeout:        cfg.IdleTimeout,
		ResponseHeaderTimeout:  cfg.ResponseTimeout,
		MaxResponseHeaderBytes: 2 * maxHeader,
		ReadBufferSize:         readBuffer,
	}, nil
}

func (d *dialer) dialClear(ctx context.Context, network, addr string) (net.Conn, error) {
	_, hostPort, err := parsePoolKey(addr)
	if err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{Timeout: d.cfg.DialTimeout}).DialContext(ctx, network, hostPort)
	if err != nil {
		return nil, err
	}
	return newGatherer(c), nil
}

func (d *dialer) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.DialTimeout)
	defer cancel()
	id, _, err := parsePoolKey(addr)
	if err != nil {
		return nil, err
	}
	raw, err := d.dialClear(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, d.configFor(id))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, explain(err)
	}
	kind := "full"
	if conn.ConnectionState().DidResume {
		kind = "resumed"
	}
	d.m.handshakes.WithLabelValues(kind).Inc()
	return conn, nil
}

// configFor accepts one node only.
func (d *dialer) configFor(id distribution.NodeID) *tls.Config {
	cfg := d.tls.Clone()
	cfg.ClientSessionCache = &sessionsOf{id, d.sessions}
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		got, err := certifiedID(state)
		if err != nil {
			return fmt.Errorf("%w: %w", distribution.ErrMembership, err)
		}
		if got != id {
			return fmt.Errorf("%w: the node there is %s", distribution.ErrMembership, got)
		}
		return nil
	}
	return cfg
}

func explain(err error) error {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(record.RecordHeader[:4]) == "HTTP" {
		return errMixed(Clear, TLS)
	}
	return err
}

// sessionsOf keeps one node's sessions apart from those of another that had the
// same address.
type sessionsOf struct {
	id  distribution.NodeID
	all tls.ClientSessionCache
}

func (s *sessionsOf) Get(key string) (*tls.ClientSessionState, bool) {
	return s.all.Get(string(s.id) + "@" + key)
}

func (s *sessionsOf) Put(key string, state *tls.ClientSessionState) {
	s.all.Put(string(s.id)+"@"+key, state)
}
