package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/daemon"
	"github.com/shoal-project/shoal/internal/pull"
)

var known = chunk.SumBytes([]byte("known"))

func fake(ready error) Daemon {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "shoal_test", Help: "A gauge."}))
	return Daemon{
		Metrics: reg,
		Ready:   func() error { return ready },
		Status:  func() any { return map[string]string{"role": "peer"} },
		Pull: func(_ context.Context, r pull.Request, tell func(pull.Event)) error {
			if r.Image == "missing" {
				tell(pull.Event{Image: r.Image, Error: "no such image"})
				return errors.New("no such image")
			}
			tell(pull.Event{Image: r.Image, Digest: &known})
			tell(pull.Event{Image: r.Image, Done: true})
			return nil
		},
		Resolve: func(_ context.Context, r pull.Request) ([]pull.Object, error) {
			return []pull.Object{{Digest: known, Kind: "layer", Size: 5}, {Digest: chunk.SumBytes(nil), Kind: "config"}}, nil
		},
		Explain: func(d chunk.Digest) (any, bool) { return "it swam", d == known },
	}
}

// Deny by default: this list is all that the daemon answers, and who may ask.
func TestRoutes(t *testing.T) {
	want := map[string]bool{ // true: on the Unix socket only
		"GET /healthz": false, "GET /readyz": false, "GET /metrics": false, "GET /v1/status": false,
		"GET /v1/explain": true, "POST /v1/pull": true,
		"GET /debug/pprof/": true, "GET /debug/pprof/profile": true, "GET /debug/pprof/trace": true,
		"GET /debug/pprof/cmdline": true, "GET /debug/pprof/symbol": true,
	}
	got := map[string]bool{}
	for _, r := range fake(nil).Routes() {
		got[r.Pattern] = r.Local
		if !r.Local && !strings.HasPrefix(r.Pattern, "GET ") {
			t.Errorf("%s can change something, and is on the TCP port", r.Pattern)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatThePortsAnswer(t *testing.T) {
	d := fake(nil)
	for _, c := range []struct {
		method, path  string
		public, local int
	}{
		{"GET", "/healthz", 200, 200},
		{"HEAD", "/healthz", 200, 200},
		{"POST", "/healthz", 405, 405},
		{"GET", "/readyz", 200, 200},
		{"GET", "/metrics", 200, 200},
		{"GET", "/v1/status", 200, 200},
		{"DELETE", "/v1/status", 405, 405},
		{"GET", "/v1/explain?object=" + known.String(), 404, 200},
		{"GET", "/v1/explain?image=app", 404, 200},
		{"GET", "/v1/explain?object=sha256:12", 404, 400},
		{"GET", "/v1/explain", 404, 400},
		{"GET", "/v1/explain?object=" + chunk.SumBytes(nil).String(), 404, 404},
		{"POST", "/v1/pull", 404, 400},
		{"GET", "/debug/pprof/", 404, 200},
		{"GET", "/", 404, 404},
		{"GET", "/v1/", 404, 404},
	} {
		for name, side := range map[string]struct {
			handler http.Handler
			want    int
		}{"public": {d.Public(), c.public}, "local": {d.Local(), c.local}} {
			w := httptest.NewRecorder()
			side.handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != side.want {
				t.Errorf("%s: %s %s answered %d, want %d", name, c.method, c.path, w.Code, side.want)
			}
		}
	}
}

func TestReadyTellsWhatIsMissing(t *testing.T) {
	w := httptest.NewRecorder()
	fake(errors.New("no supernode answers")).Public().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "no supernode answers") {
		t.Errorf("answered %d %q", w.Code, w.Body.String())
	}
}

// listen serves a daemon on a socket, and gives a client for it.
func listen(t *testing.T, d Daemon) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := daemon.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- daemon.Serve(ctx, l, d.Local(), time.Second, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return NewClient(path)
}

func TestClient(t *testing.T) {
	c := listen(t, fake(nil))
	defer c.Close()
	var events []pull.Event
	if err := c.Pull(t.Context(), pull.Request{Image: "app"}, func(e pull.Event) { events = append(events, e) }); err != nil {
		t.Fatal(err)
	}
	want := []pull.Event{{Image: "app", Digest: &known}, {Image: "app", Done: true}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := c.Pull(t.Context(), pull.Request{Image: "missing"}, func(pull.Event) {}); err == nil || err.Error() != "no such image" {
		t.Errorf("a pull that fails: %v", err)
	}
	var stories []Story
	text, err := c.Explain(t.Context(), "app", nil)
	if err != nil || json.Unmarshal(text, &stories) != nil || len(stories) != 2 || stories[0].Story != "it swam" || stories[1].Story != nil {
		t.Errorf("explain: %s, %v", text, err)
	}
	if _, err := c.Explain(t.Context(), chunk.SumBytes(nil).String(), nil); err == nil || !strings.Contains(err.Error(), "nothing is known") {
		t.Errorf("explain of the unknown: %v", err)
	}
}

func TestClientSaysWhenThereIsNoDaemon(t *testing.T) {
	_, err := NewClient(filepath.Join(t.TempDir(), "none")).Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no daemon listens on") {
		t.Errorf("Status: %v", err)
	}
}

func TestClientSaysWhenTheDaemonDies(t *testing.T) {
	d := fake(nil)
	d.Pull = func(context.Context, pull.Request, func(pull.Event)) error { return nil }
	c := listen(t, d)
	defer c.Close()
	err := c.Pull(t.Context(), pull.Request{Image: "app"}, func(pull.Event) {})
	if err == nil || !strings.Contains(err.Error(), "what arrived is kept") {
		t.Errorf("Pull: %v", err)
	}
}
