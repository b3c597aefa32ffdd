package registryproxy

import (
	"log/slog"
	"net/http"
	"time"
)

// maxHeader bounds a request's header; more is answered 431.
const maxHeader = 64 << 10

// NewServer serves the handler with timeouts that suit pulls: none on writing,
// because a client may take hours for a layer, and may pause.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		// There is no ReadTimeout either: its end would end a response under way.
		IdleTimeout:    3 * time.Minute,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
