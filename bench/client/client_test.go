package client

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/shoal-project/shoal/bench/image"
)

// serve pushes an image to a registry and returns a job for it. wrap sees every
// request for a blob.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) (Job, *image.Image) {
	t.Helper()
	server := httptest.NewServer(wrap(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	t.Cleanup(server.Close)
	img, err := image.Make(image.Spec{Layers: 2, LayerBytes: 1 << 20, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	if err := img.Push(t.Context(), host, "bench/a", "one", http.DefaultTransport); err != nil {
		t.Fatal(err)
	}
	return Job{Base: server.URL, Repository: "bench/a", Reference: "one"}, img
}

func TestMainPullsAtTheInstantItIsTold(t *testing.T) {
	job, img := serve(t, func(h http.Handler) http.Handler { return h })
	in, tell := io.Pipe()
	hear, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Main(t.Context(), in, out) }()
	if err := json.NewEncoder(tell).Encode(job); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(hear)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("said %q, want ready", lines.Text())
	}
	fmt.Fprintln(tell, time.Now().UnixNano())
	var result Result
	if !lines.Scan() {
		t.Fatal("no result")
	}
	if err := json.Unmarshal(lines.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || result.Error != "" {
		t.Fatal(err, result.Error)
	}
	if result.Bytes <= img.Bytes() || result.FirstByte <= 0 || result.FirstByte > result.Total || result.Manifest > result.Total {
		t.Errorf("result %+v of an image of %d layer bytes", result, img.Bytes())
	}
}

func TestWrongBytesAreNoticed(t *testing.T) {
	corrupt := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				fmt.Fprint(w, "not what was asked for")
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	job, _ := serve(t, corrupt)
	if result := Pull(t.Context(), http.DefaultClient, job); !strings.Contains(result.Error, "came as sha256:") {
		t.Errorf("result %+v of corrupted blobs", result)
	}
	job.Reference = "none"
	if result := Pull(t.Context(), http.DefaultClient, job); !strings.Contains(result.Error, "404") {
		t.Errorf("result %+v of a tag that is not there", result)
	}
}
