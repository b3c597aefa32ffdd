package exchange

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// Server is the giving end.
type Server struct {
	cfg     Config
	open    bool // no network key: loopback only
	member  membership
	tls     *tls.Config // nil in clear text
	seen    *nonces
	uploads distribution.Uploads
	slots   chan struct{}
	buffers sync.Pool // *[]byte of bufferSize
	conns   atomic.Int64
	now     func() time.Time
	log     *slog.Logger
	m       *Metrics
}

// NewServer serves uploads to members. key is the node's identity key.
func NewServer(cfg Config, key ed25519.PrivateKey, networkKey []byte, uploads distribution.Uploads, log *slog.Logger, m *Metrics) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	self, priv, err := nodeID(key)
	if err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	member, err := newMembership(self, networkKey)
	if err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	s := &Server{
		cfg: cfg, open: len(networkKey) == 0, member: member, seen: newNonces(), uploads: uploads,
		slots: make(chan struct{}, cfg.Slots), now: time.Now, log: log, m: m,
	}
	s.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if cfg.Security == TLS {
		anybody := func(distribution.NodeID) error { return nil } // each request proves membership
		if s.tls, err = tlsConfig(priv, anybody); err != nil {
			return nil, fmt.Errorf("exchange: %w", err)
		}
	}
	return s, nil
}

// shutdownGrace is how long running uploads may go on when the server ends.
const shutdownGrace = 2 * time.Second

// Serve answers on l until ctx ends, and closes l. Running uploads get two
// seconds to end. Without a network key it refuses to serve beyond loopback.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if addr, ok := l.Addr().(*net.TCPAddr); s.open && (!ok || !addr.IP.IsLoopback()) {
		l.Close()
		return fmt.Errorf("exchange: listening on %s without a network key would let anybody in: "+
			"make a key with `supernode key new` and give it to every node, or listen on 127.0.0.1", l.Addr())
	}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	srv := s.httpServer()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("exchange: serving on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("exchange: serving on %s: %w", l.Addr(), err)
	}
	return nil
}

func (s *Server) httpServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		// Bare: any wrapper of the ResponseWriter would keep sendfile away.
		Handler:                      http.HandlerFunc(s.serve),
		Protocols:                    &protocols,
		ReadHeaderTimeout:            s.cfg.RequestTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout * 3 / 2,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext:                  rememberIdentity,
		ConnState:                    s.count,
	}
}

// count closes connections beyond the configured number.
func (s *Server) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > int64(s.cfg.MaxConns) {
			c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}

type identityKey struct{}

// rememberIdentity lets a connection's certificate be checked once, not for
// every request.
func rememberIdentity(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*tls.Conn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, identityKey{}, sync.OnceValues(func() (distribution.NodeID, error) {
		return certifiedID(conn.ConnectionState())
	}))
}

// authenticate gives the member that asks.
func (s *Server) authenticate(r *http.Request) (distribution.NodeID, error) {
	proof := r.Header.Get(headerProof)
	if s.tls == nil {
		return s.member.checkClear(proof, request{r.Method, r.RequestURI, r.Header.Get("Range")}, s.seen, s.now())
	}
	identity, ok := r.Context().Value(identityKey{}).(func() (distribution.NodeID, error))
	if !ok {
		return "", errors.New("no identity")
	}
	client, err := identity()
	if err != nil {
		return "", err
	}
	return client, s.member.checkTLS(client, proof)
}
