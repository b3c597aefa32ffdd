package origin

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// value is the sum of a gathered metric over the labels that contain label.
func value(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.Contains(labels(m), label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func labels(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.GetLabel() {
		b.WriteString(l.GetValue())
	}
	return b.String()
}

func TestMetrics(t *testing.T) {
	data := content(5000)
	var n atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		ranged(data)(w, r)
	})
	reg := prometheus.NewRegistry()
	c, err := New(testConfig(s), slog.New(slog.DiscardHandler), NewMetrics(reg))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantWhole(t, open(t, c, sourceOf(s, data)), data)
	for _, tt := range []struct {
		name, label string
		want        float64
	}{
		{"shoal_origin_requests_total", "ok", 1},
		{"shoal_origin_requests_total", "throttled", 1},
		{"shoal_origin_retries_total", "throttled", 1},
		{"shoal_origin_throttled_total", "", 1},
		{"shoal_origin_bytes_total", "", 5000},
		{"shoal_origin_request_seconds", "", 2},
		{"shoal_origin_connections", "", 0},
	} {
		if got := value(t, reg, tt.name, tt.label); got != tt.want {
			t.Errorf("%s{%s} = %v, want %v", tt.name, tt.label, got, tt.want)
		}
	}
}
