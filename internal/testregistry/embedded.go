package testregistry

import (
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Embedded is a registry as an http.Handler. Manifests live in memory, blobs as
// files of a directory, shared by all repositories.
//
// go-containerregistry's registry serves the manifests only: its blob handler
// reads a whole file for each range of it, refuses open ranges, and holds
// uploads in memory.
type Embedded struct {
	dir       string
	manifests http.Handler
	uploads   uploads

	mu     sync.Mutex
	log    Log // guarded by mu
	active int // guarded by mu; requests being answered
}

// NewEmbedded keeps its blobs in dir, which it makes; blobs that are there
// already are served.
func NewEmbedded(dir string) (*Embedded, error) {
	if err := os.MkdirAll(filepath.Join(dir, "uploads"), 0o755); err != nil {
		return nil, err
	}
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	return &Embedded{dir: dir, manifests: registry.New(quiet), uploads: uploads{dir: filepath.Join(dir, "uploads")}}, nil
}

var uploadPath = regexp.MustCompile(`^(/v2/.+/blobs/uploads/)([0-9]*)$`)

// ServeHTTP answers and records one request.
func (e *Embedded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	counted := &countingWriter{ResponseWriter: w, status: http.StatusOK}
	e.mu.Lock()
	e.active++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.active--
		e.log = append(e.log, Request{Method: r.Method, Path: r.URL.RequestURI(), Status: counted.status, Bytes: counted.bytes})
	}()
	if m := uploadPath.FindStringSubmatch(r.URL.Path); m != nil {
		e.upload(counted, r, m[1], m[2])
	} else if m := blobPath.FindStringSubmatch(r.URL.Path); m != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		e.blob(counted, r, m[2])
	} else {
		e.manifests.ServeHTTP(counted, r)
	}
}

// Active is how many requests are being answered; the log has those that are not.
func (e *Embedded) Active() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.active
}

// Log is a copy of what was answered so far.
func (e *Embedded) Log() Log {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append(Log(nil), e.log...)
}

// ResetLog forgets what was answered so far.
func (e *Embedded) ResetLog() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = nil
}

func (e *Embedded) blobFile(digest string) string {
	return filepath.Join(e.dir, digest[len("sha256:"):])
}

// blob serves one blob. Ranges are net/http's own: closed, open, suffix, several.
func (e *Embedded) blob(w http.ResponseWriter, r *http.Request, digest string) {
	f, err := os.Open(e.blobFile(digest))
	if err != nil {
		failure(w, http.StatusNotFound, "BLOB_UNKNOWN", "no such blob: "+digest)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		failure(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("ETag", `"`+digest+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// countingWriter notes the status and the body's bytes. It keeps sendfile.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}
