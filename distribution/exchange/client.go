package exchange

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Client is the asking end.
type Client struct {
	cfg    Config
	scheme string
	member membership
	http   *http.Transport
	log    *slog.Logger
	m      *Metrics
}

var _ distribution.Exchange = (*Client)(nil)

// NewClient asks other nodes in the name of key, the node's identity key.
func NewClient(cfg Config, key ed25519.PrivateKey, networkKey []byte, log *slog.Logger, m *Metrics) (*Client, error) {
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
	transport, err := newTransport(cfg, priv, m)
	if err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	scheme := "http"
	if cfg.Security == TLS {
		scheme = "https"
	}
	return &Client{cfg: cfg, scheme: scheme, member: member, http: transport, log: log, m: m}, nil
}

// Close closes idle connections; running transfers go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Fetch implements distribution.Exchange.
func (c *Client) Fetch(ctx context.Context, from distribution.Member, r distribution.Run) (*distribution.Transfer, error) {
	where, err := extentOf(r.Size, r.Span)
	if err != nil {
		return nil, err
	}
	t, err := c.fetch(ctx, from, r, where)
	c.m.fetches.WithLabelValues(resultOf(err)).Inc()
	if err != nil {
		return nil, fmt.Errorf("blocks %s of %s from node %s at %s: %w", r.Span, r.Object, from.ID, from.Chunks, err)
	}
	return t, nil
}

func resultOf(err error) string {
	_, busy := errors.AsType[*distribution.BusyError](err)
	switch {
	case err == nil:
		return "ok"
	case busy:
		return "busy"
	case errors.Is(err, distribution.ErrAbsent):
		return "absent"
	case errors.Is(err, distribution.ErrMembership):
		return "forbidden"
	}
	return "failed"
}

func (c *Client) fetch(ctx context.Context, from distribution.Member, r distribution.Run, where extent) (*distribution.Transfer, error) {
	// The transport keeps connections by the URL's host, so that names who must
	// be there, and where: see dialer.
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: c.scheme, Host: poolKey(from), Path: pathPrefix + r.Object.String()},
		Host:   from.Chunks,
		Header: http.Header{"Range": {where.String()}, "User-Agent": nil},
	}).WithContext(ctx)
	if r.Packed {
		req.Header.Set("Accept-Encoding", encodingZstd)
	}
	req.Header.Set(headerProof, c.proof(from.ID, req))
	var under *gatherer
	trace := httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { under = gathererOf(info.Conn) }}
	req = req.WithContext(httptrace.WithClientTrace(ctx, &trace))
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		return nil, refused(resp)
	}
	sums, err := check(resp, r.Size, where, r.Packed)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if resp.Header.Get("Content-Encoding") == "" {
		return &distribution.Transfer{Sums: sums, Body: newBody(resp.Body, where.n, under, c.m.received)}, nil
	}
	body, err := unpack(resp.Body, where.n, c.m.received)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return &distribution.Transfer{Sums: sums, Body: body}, nil
}

func (c *Client) proof(server distribution.NodeID, req *http.Request) string {
	if c.cfg.Security == TLS {
		return c.member.tlsProof(c.member.self, server)
	}
	return c.member.clearProof(server, request{req.Method, req.URL.RequestURI(), req.Header.Get("Range")}, time.Now())
}

// check holds an answer to what was asked.
func check(resp *http.Response, size int64, where extent, packed bool) (chunk.Sums, error) {
	if got, want := resp.Header.Get("Content-Range"), where.contentRange(size); got != want {
		return nil, fmt.Errorf("answer is for %.80q, not %q", got, want)
	}
	encoding := resp.Header.Get("Content-Encoding")
	if encoding != "" && (encoding != encodingZstd || !packed) {
		return nil, fmt.Errorf("answer is in coding %.80q, which was not asked for", encoding)
	}
	if encoding == "" && resp.ContentLength != where.n {
		return nil, fmt.Errorf("answer has %d bytes, not %d", resp.ContentLength, where.n)
	}
	return parseSums(resp.Header.Get(headerSums), size, where.chunk())
}

// refused turns an answer other than 206 into an error.
func refused(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
	text := strings.TrimSpace(string(raw))
	switch resp.StatusCode {
	case http.StatusNotFound:
		return distribution.ErrAbsent
	case http.StatusTooManyRequests:
		return &distribution.BusyError{RetryAfter: retryAfter(resp.Header.Get(headerRetry))}
	case http.StatusForbidden:
		return fmt.Errorf("%w: it says %q", distribution.ErrMembership, text)
	case http.StatusBadRequest:
		if strings.Contains(text, "HTTPS") {
			return errMixed(TLS, Clear)
		}
	}
	return fmt.Errorf("it answered %d: %q", resp.StatusCode, text)
}

func errMixed(there, here Security) error {
	return fmt.Errorf("that node has security %q and this one %q: set the same on all nodes", there, here)
}

// retryAfter reads the header within reason.
func retryAfter(s string) time.Duration {
	const least, most = 10 * time.Millisecond, 10 * time.Second
	ms, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 100 * time.Millisecond
	}
	return min(max(time.Duration(ms)*time.Millisecond, least), most)
}

// body counts what is received, and tells the connection what is still certain
// to come of the block that is being read.
type body struct {
	io.ReadCloser
	n, left  int64
	under    *gatherer // nil: none
	received prometheus.Counter
}

func newBody(r io.ReadCloser, n int64, under *gatherer, received prometheus.Counter) *body {
	return &body{ReadCloser: r, n: n, left: n, under: under, received: received}
}

func (b *body) Read(p []byte) (int, error) {
	if b.under != nil {
		// A read that ends the body leaves the connection to whoever waits for the
		// next answer; it must be so small that nothing was certain behind it.
		p = p[:min(len(p), between/2)]
		b.under.certain.Store(b.ofBlock())
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.received.Add(float64(n))
	return n, err
}

// ofBlock is how much of the current block was not read; a run begins with a
// block.
func (b *body) ofBlock() int64 {
	return min(b.left, chunk.BlockSize-(b.n-b.left)%chunk.BlockSize)
}

func (b *body) Close() error {
	if b.under != nil {
		b.under.certain.Store(0)
	}
	return b.ReadCloser.Close()
}
