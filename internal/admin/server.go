package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/pull"
)

// Daemon is what the handlers stand on. One without Pull has no engine: then
// Pull, Start, Resolve and Explain are nil, and it has no routes for them.
type Daemon struct {
	Metrics prometheus.Gatherer
	// Ready reports all that keeps the daemon from working.
	Ready func() error
	// Status is marshalled as JSON.
	Status func() any
	// Pull brings an image into the store.
	Pull func(ctx context.Context, r pull.Request, tell func(pull.Event)) error
	// Start has it brought in while nobody waits.
	Start func(r pull.Request) error
	// Resolve lists the objects of an image that is here.
	Resolve func(ctx context.Context, r pull.Request) ([]pull.Object, error)
	// Explain tells an object's story; false if it is not known here.
	Explain func(chunk.Digest) (any, bool)
	// More are routes of the daemon's own.
	More []Route
}

// Route is one pattern of http.ServeMux and who may use it.
type Route struct {
	Pattern string
	Local   bool // on the Unix socket only
	Handler http.Handler
}

// Routes are all that there is.
func (d Daemon) Routes() []Route {
	get := func(pattern string, h http.HandlerFunc) Route { return Route{Pattern: "GET " + pattern, Handler: h} }
	local := func(pattern string, h http.HandlerFunc) Route {
		return Route{Pattern: pattern, Local: true, Handler: h}
	}
	routes := []Route{
		get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }),
		get("/readyz", d.ready),
		{Pattern: "GET /metrics", Handler: promhttp.HandlerFor(d.Metrics, promhttp.HandlerOpts{})},
		get("/v1/status", d.status),
		local("GET /debug/pprof/", pprof.Index),
		local("GET /debug/pprof/profile", pprof.Profile),
		local("GET /debug/pprof/trace", pprof.Trace),
		local("GET /debug/pprof/cmdline", pprof.Cmdline),
		local("GET /debug/pprof/symbol", pprof.Symbol),
	}
	if d.Pull != nil {
		routes = append(routes, local("GET /v1/explain", d.explain), local("POST /v1/pull", d.pull))
	}
	return append(routes, d.More...)
}

// Public answers on the TCP port.
func (d Daemon) Public() http.Handler { return d.mux(false) }

// Local answers on the Unix socket.
func (d Daemon) Local() http.Handler { return d.mux(true) }

func (d Daemon) mux(local bool) http.Handler {
	mux := http.NewServeMux()
	for _, r := range d.Routes() {
		if local || !r.Local {
			mux.Handle(r.Pattern, r.Handler)
		}
	}
	return mux
}

func (d Daemon) ready(w http.ResponseWriter, _ *http.Request) {
	if err := d.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}

func (d Daemon) status(w http.ResponseWriter, _ *http.Request) { writeJSON(w, d.Status()) }

// maxRequest bounds a command's body in bytes.
const maxRequest = 64 << 10

func (d Daemon) pull(w http.ResponseWriter, r *http.Request) {
	var request pull.Request
	if !ReadJSON(w, r, "the request is not a pull", maxRequest, &request) {
		return
	}
	if r.URL.Query().Has("background") {
		if err := d.Start(request); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	_ = d.Pull(r.Context(), request, SayLines[pull.Event](w)) // the last event carries the error
}

// Story is what is told of one object.
type Story struct {
	pull.Object
	// Story is the engine's; nil when the object is not known here.
	Story any `json:"story,omitempty"`
}

func (d Daemon) explain(w http.ResponseWriter, r *http.Request) {
	objects, err := d.objects(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	stories := make([]Story, len(objects))
	known := false
	for i, o := range objects {
		stories[i].Object = o
		if story, ok := d.Explain(o.Digest); ok {
			stories[i].Story, known = story, true
		}
	}
	if !known {
		http.Error(w, "nothing is known of it on this node; it was never pulled through here, or was evicted", http.StatusNotFound)
		return
	}
	writeJSON(w, stories)
}

func (d Daemon) objects(r *http.Request) ([]pull.Object, error) {
	query := r.URL.Query()
	if object := query.Get("object"); object != "" {
		digest, err := chunk.ParseDigest(strings.ToLower(object))
		return []pull.Object{{Digest: digest}}, err
	}
	if image := query.Get("image"); image != "" {
		return d.Resolve(r.Context(), pull.Request{Image: image, Platforms: query["platform"]})
	}
	return nil, errors.New("name an object (sha256:…) or an image")
}
