package registryproxy

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
)

// TestLogAndMetrics: one line a request without secrets, and counters.
func TestLogAndMetrics(t *testing.T) {
	r := newRig(t, testConfig())
	r.image(t, "org/app", "v1", []byte("layer"))
	var out bytes.Buffer
	reg := prometheus.NewRegistry()
	p, err := New(testConfig(), r.objects, r.up, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), NewMetrics(reg))
	if err != nil {
		t.Fatal(err)
	}
	blob := "/v2/org/app/blobs/" + chunk.SumBytes([]byte("layer")).String()
	for _, path := range []string{appV1 + "?token=hidden", blob, blob, "/v2/org/app/blobs/x"} {
		req := httptest.NewRequest("GET", path, nil)
		req.Header.Set("Authorization", alice)
		p.ServeHTTP(httptest.NewRecorder(), req)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if log := out.String(); strings.Count(log, "msg=request") != 4 || strings.Contains(log, "YWxpY2U6c2VjcmV0") || strings.Contains(log, "hidden") {
		t.Errorf("log:\n%s", log)
	}
	want := map[string]float64{
		"requests_total manifest GET 2xx": 1, "requests_total blob GET 2xx": 2, "requests_total blob GET 4xx": 1,
		"served_bytes_total stream": 5 + float64(len(r.get(t, appV1).body)), "served_bytes_total cache": 5,
		"access_checks_total remembered": 2, "tag_resolutions_total asked": 1,
	}
	if diff := cmp.Diff(want, counters(t, reg)); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// TestBytesOfAFallback: each byte is counted once, under what it came from.
func TestBytesOfAFallback(t *testing.T) {
	r := newRig(t, testConfig())
	data := randomBytes(100_000)
	d := r.put(t, "org/app/blobs", "", data)
	r.objects.held[d] = data
	r.objects.breakAt = 30_000
	reg := prometheus.NewRegistry()
	p, err := New(testConfig(), r.objects, r.up, slog.New(slog.DiscardHandler), NewMetrics(reg))
	if err != nil {
		t.Fatal(err)
	}
	r.set(func(o *origin) { o.intercept = serve(data, true, -1) })
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "/v2/org/app/blobs/"+d.String(), nil))
	if err := p.Close(); err != nil || !bytes.Equal(w.Body.Bytes(), data) {
		t.Fatalf("%d bytes, %v", w.Body.Len(), err)
	}
	got := counters(t, reg)
	for name, want := range map[string]float64{"served_bytes_total cache": 30_000, "served_bytes_total fallback": 70_000, "fallbacks_total middle": 1} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func counters(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter() == nil {
				continue
			}
			name := strings.TrimPrefix(f.GetName(), "shoal_registry_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	return got
}
