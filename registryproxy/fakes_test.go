package registryproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// clock is a fake time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// origin is a registry with a log of what it was asked, and faults.
type origin struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[string]int // by "METHOD path"
	auth     []string
	// users are the credentials that may read a repository; none makes it public.
	users map[string][]string
	// intercept may answer instead of the registry.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	inner     http.Handler
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{
		requests: make(map[string]int), users: make(map[string][]string),
		inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)),
	}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.requests[r.Method+" "+r.URL.Path]++
	o.auth = append(o.auth, r.Header.Get("Authorization"))
	intercept := o.intercept
	may := o.may(r)
	o.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	if !may {
		w.Header().Set("WWW-Authenticate", `Basic realm="Origin, \"private\""`)
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	o.inner.ServeHTTP(w, r)
}

func (o *origin) may(r *http.Request) bool {
	for name, users := range o.users {
		if strings.HasPrefix(r.URL.Path, "/v2/"+name+"/") {
			for _, u := range users {
				if r.Header.Get("Authorization") == u {
					return true
				}
			}
			return false
		}
	}
	return true
}

func (o *origin) set(f func(*origin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

func (o *origin) fail(status int) {
	o.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(status); return true }
	})
}

func (o *origin) heal() { o.set(func(o *origin) { o.intercept = nil }) }

// asked counts requests whose "METHOD path" begins so, and forgets them.
func (o *origin) asked(prefix string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, count := range maps.All(o.requests) {
		if strings.HasPrefix(k, prefix) {
			n += count
			delete(o.requests, k)
		}
	}
	return n
}

func (o *origin) host() string { return strings.TrimPrefix(o.URL, "http://") }

// put stores a blob or manifest and returns its digest.
func (o *origin) put(t *testing.T, path, contentType string, body []byte) chunk.Digest {
	t.Helper()
	d := chunk.SumBytes(body)
	method, url := http.MethodPut, o.URL+"/v2/"+path
	if strings.HasSuffix(path, "/blobs") {
		method, url = http.MethodPost, o.URL+"/v2/"+path+"/uploads/?digest="+d.String()
	}
	r := httptest.NewRequest(method, url, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	o.inner.ServeHTTP(w, r)
	if w.Code/100 != 2 {
		t.Fatalf("storing %s: %d %s", path, w.Code, w.Body)
	}
	return d
}

// forwarder reaches origins by plain HTTP.
type forwarder struct {
	hosts map[string]string // registry to host:port, if it differs
	mu    sync.Mutex
	err   error
}

func (f *forwarder) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *forwarder) Forward(ctx context.Context, r distribution.Request) (*http.Response, error) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Authorization") != "" {
		return nil, errors.New("Authorization among the other headers")
	}
	host, ok := f.hosts[r.Registry]
	if !ok {
		host = r.Registry
	}
	u := url.URL{Scheme: "http", Host: host, Path: "/v2/" + r.Repository + "/" + r.Path, RawQuery: r.Query.Encode()}
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	if r.Authorization != "" {
		req.Header.Set("Authorization", r.Authorization)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, &distribution.OriginError{Message: "no answer", Err: err}
	}
	return resp, nil
}

// objects is a swarm in memory: what it does not hold it gets from the origin.
type objects struct {
	up      distribution.Forwarder
	mu      sync.Mutex
	held    map[chunk.Digest][]byte
	opened  int
	openErr error
	hang    bool  // Open waits for its context
	breakAt int64 // CopyRange fails at this offset; -1 never
}

func newObjects(up distribution.Forwarder) *objects {
	return &objects{up: up, held: make(map[chunk.Digest][]byte), breakAt: -1}
}

func (o *objects) Holds(d chunk.Digest) (int64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, ok := o.held[d]
	return int64(len(data)), ok
}

func (o *objects) set(f func(*objects)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

func (o *objects) Open(ctx context.Context, src distribution.Source) (distribution.Reader, error) {
	o.mu.Lock()
	data, ok := o.held[src.Digest]
	o.opened++
	err, hang, breakAt := o.openErr, o.hang, o.breakAt
	o.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		if data, err = o.fetch(ctx, src); err != nil {
			return nil, err
		}
	}
	return &reader{ctx, data, breakAt}, nil
}

func (o *objects) fetch(ctx context.Context, src distribution.Source) ([]byte, error) {
	path := "blobs/"
	if src.Manifest {
		path = "manifests/"
	}
	resp, err := o.up.Forward(ctx, distribution.Request{
		Method: http.MethodGet, Registry: src.Registry, Repository: src.Repository, Path: path + src.Digest.String(),
		Header: http.Header{"Accept": {"*/*"}}, Authorization: src.Authorization,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || err != nil || chunk.SumBytes(data) != src.Digest {
		return nil, &distribution.OriginError{Status: resp.StatusCode, Message: "refused", Err: err}
	}
	o.set(func(o *objects) { o.held[src.Digest] = data })
	return data, nil
}

type reader struct {
	ctx     context.Context // of Open: a reader lives no longer
	data    []byte
	breakAt int64
}

func (r *reader) Size() int64 { return int64(len(r.data)) }

func (r *reader) CopyRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if err := errors.Join(ctx.Err(), r.ctx.Err()); err != nil {
		return 0, err
	}
	end := off + n
	if r.breakAt >= 0 {
		end = max(off, min(end, r.breakAt))
	}
	m, err := io.Copy(w, bytes.NewReader(r.data[off:end]))
	if err == nil && m < n {
		err = errors.New("the swarm broke off")
	}
	return m, err
}

func (r *reader) Wait(context.Context) error { return nil }
func (r *reader) Close() error               { return nil }

// rig is a proxy before one origin that it knows as origin.test, a swarm and a clock.
type rig struct {
	*origin
	up      *forwarder
	objects *objects
	clock   *clock
	proxy   *Proxy
	front   *httptest.Server
}

const testRegistry = "origin.test"

func testConfig() Config {
	cfg := Default()
	cfg.DefaultRegistry = testRegistry
	cfg.Tags = nil
	return cfg
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	o := newOrigin(t)
	r := &rig{origin: o, clock: &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	r.up = &forwarder{hosts: map[string]string{testRegistry: o.host(), dockerHub: o.host()}}
	r.objects = newObjects(r.up)
	r.start(t, cfg)
	return r
}

// start makes a proxy, and its server.
func (r *rig) start(t *testing.T, cfg Config) {
	t.Helper()
	p, err := New(cfg, r.objects, r.up, slog.New(slog.DiscardHandler), NewMetrics(nil), WithClock(r.clock.now))
	if err != nil {
		t.Fatal(err)
	}
	r.proxy = p
	r.front = httptest.NewUnstartedServer(nil)
	r.front.Config = NewServer(p, slog.New(slog.DiscardHandler))
	r.front.Start()
	t.Cleanup(r.halt)
}

// halt ends the proxy; a second time does nothing.
func (r *rig) halt() {
	r.front.Close()
	if r.proxy != nil {
		_ = r.proxy.Close()
		r.proxy = nil
	}
}

// result is an answer, read whole.
type result struct {
	status int
	header http.Header
	body   []byte
	err    error // reading the body
	length int64
}

func (r *rig) do(t *testing.T, method, path string, header ...string) result {
	t.Helper()
	req, err := http.NewRequest(method, r.front.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return result{resp.StatusCode, resp.Header, body, err, resp.ContentLength}
}

func (r *rig) get(t *testing.T, path string, header ...string) result {
	t.Helper()
	return r.do(t, http.MethodGet, path, header...)
}

// spy notes when a reader is given the very writer that it wants to see.
type spy struct {
	*objects
	want io.Writer
	seen chan io.Writer
}

func (s *spy) Open(ctx context.Context, src distribution.Source) (distribution.Reader, error) {
	rd, err := s.objects.Open(ctx, src)
	return &spyReader{rd, s}, err
}

type spyReader struct {
	distribution.Reader
	spy *spy
}

func (r *spyReader) CopyRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if w == r.spy.want {
		r.spy.seen <- w
	}
	return r.Reader.CopyRange(ctx, w, off, n)
}
