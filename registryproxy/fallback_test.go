package registryproxy

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

// serve answers for a blob as a registry with the given manners does.
func serve(data []byte, ranges bool, cutAfter int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		part, partial, _ := parseRange(r.Header.Get("Range"), int64(len(data)))
		if !ranges {
			part, partial = span{0, int64(len(data))}, false
		}
		w.Header().Set("Content-Length", strconv.FormatInt(part.n, 10))
		if partial {
			w.Header().Set("Content-Range", part.contentRange(int64(len(data))))
			w.WriteHeader(http.StatusPartialContent)
		}
		body := data[part.off : part.off+part.n]
		if cutAfter >= 0 && len(body) > cutAfter {
			_, _ = w.Write(body[:cutAfter])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
		return true
	}
}

func TestFallback(t *testing.T) {
	const size = 1 << 20
	data := randomBytes(size)
	for _, tt := range []struct {
		name    string
		swarm   func(*objects)
		ranges  bool
		cut     int // what the origin sends before it breaks off; -1 all
		request string
		want    []byte // nil: the body must break off
	}{
		{"open fails", func(o *objects) { o.openErr = errors.New("no swarm") }, true, -1, "", data},
		{"open fails, range", func(o *objects) { o.openErr = errors.New("no swarm") }, true, -1, "bytes=9-99", data[9:100]},
		{"open fails, origin breaks off", func(o *objects) { o.openErr = errors.New("no swarm") }, true, size / 3, "", data},
		{"open hangs", func(o *objects) { o.hang = true }, true, -1, "", data},
		{"refused to another caller", func(o *objects) { o.openErr = &distribution.OriginError{Status: 401} }, true, -1, "", data},
		{"no first byte", func(o *objects) { o.breakAt = 0 }, true, -1, "", data},
		{"no first byte of a range", func(o *objects) { o.breakAt = 0 }, true, -1, "bytes=-5", data[size-5:]},
		{"breaks in the middle", func(o *objects) { o.breakAt = 300_000 }, true, -1, "", data},
		{"breaks in a range", func(o *objects) { o.breakAt = 300_000 }, true, -1, "bytes=1000-900000", data[1000:900001]},
		{"breaks, no ranges", func(o *objects) { o.breakAt = 300_000 }, false, -1, "", data},
		{"breaks twice", func(o *objects) { o.breakAt = 300_000 }, true, 400_000, "", data},
		{"breaks for good", func(o *objects) { o.breakAt = 300_000 }, true, 0, "", nil},
		{"all fail", func(o *objects) { o.openErr = errors.New("no swarm") }, true, 5000, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.OpenTimeout = 50 * time.Millisecond
			r := newRig(t, cfg)
			d := r.put(t, "org/app/blobs", "", data)
			r.objects.held[d] = data
			r.objects.set(tt.swarm)
			r.set(func(o *origin) { o.intercept = serve(data, tt.ranges, tt.cut) })
			got := r.get(t, "/v2/org/app/blobs/"+d.String(), "Range", tt.request)
			switch {
			case tt.want == nil && got.err == nil:
				t.Errorf("%d bytes look complete", len(got.body))
			case tt.want != nil && (got.err != nil || !bytes.Equal(got.body, tt.want)):
				t.Errorf("%d of %d bytes, %v", len(got.body), len(tt.want), got.err)
			case tt.want != nil && got.length != int64(len(tt.want)):
				t.Errorf("Content-Length %d", got.length)
			}
		})
	}
}

func TestOpenTooManyRequests(t *testing.T) {
	r := newRig(t, testConfig())
	d := r.put(t, "org/app/blobs", "", []byte("x"))
	r.objects.openErr = &distribution.OriginError{Status: 429, Message: "slow down"}
	if got := r.get(t, "/v2/org/app/blobs/"+d.String()); got.status != 429 || !strings.Contains(string(got.body), codeTooMany) || r.asked("GET") != 0 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestManifestFallback(t *testing.T) {
	for name, swarm := range map[string]func(*objects, chunk.Digest){
		"open fails": func(o *objects, _ chunk.Digest) { o.openErr = errors.New("no swarm") },
		"breaks off": func(o *objects, _ chunk.Digest) { o.breakAt = 7 },
		"wrong byte": func(o *objects, d chunk.Digest) { o.held[d] = []byte(`{"mediaType":"application/x"}`) },
		"hangs":      func(o *objects, _ chunk.Digest) { o.hang = true },
	} {
		cfg := testConfig()
		cfg.OpenTimeout = 50 * time.Millisecond
		r := newRig(t, cfg)
		body := r.image(t, "org/app", "v1", []byte("layer"))
		d := chunk.SumBytes(body)
		r.objects.set(func(o *objects) { swarm(o, d) })
		for _, ref := range []string{"v1", d.String()} {
			got := r.get(t, "/v2/org/app/manifests/"+ref)
			if got.status != 200 || !bytes.Equal(got.body, body) || got.header.Get("Content-Type") != ociManifest {
				t.Errorf("%s, %s: %d %s", name, ref, got.status, got.body)
			}
		}
	}
}

func TestPassedThrough(t *testing.T) {
	r := newRig(t, testConfig())
	large := []byte(`{"schemaVersion":2,"x":"` + strings.Repeat("x", maxManifest) + `"}`)
	largeDigest := r.put(t, "org/app/manifests/large", ociManifest, large)
	sha512 := "sha512:" + strings.Repeat("0", 128)
	r.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, sha512) && !strings.HasSuffix(req.URL.Path, "/manifests/other") {
				return false
			}
			w.Header().Set("Content-Type", ociManifest)
			w.Header().Set("Docker-Content-Digest", sha512)
			_, _ = fmt.Fprint(w, "content")
			return true
		}
	})
	for path, want := range map[string][]byte{
		"manifests/large": large, "manifests/" + largeDigest.String(): large,
		"manifests/" + sha512: []byte("content"), "blobs/" + sha512: []byte("content"), "manifests/other": []byte("content"),
	} {
		got := r.get(t, "/v2/org/app/"+path)
		if got.status != 200 || !bytes.Equal(got.body, want) {
			t.Errorf("%s: %d, %d bytes", path, got.status, len(got.body))
		}
		ct := ociManifest
		if strings.HasPrefix(path, "blobs") {
			ct = "application/octet-stream"
		}
		if got.header.Get("Content-Type") != ct {
			t.Errorf("%s: content type %s", path, got.header.Get("Content-Type"))
		}
	}
}

func TestTagListPages(t *testing.T) {
	r := newRig(t, testConfig())
	r.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Query().Has("ns") {
				t.Error("ns reached the origin")
			}
			w.Header().Set("Content-Type", "application/json")
			if req.URL.Query().Get("last") == "" {
				w.Header().Add("Link", `</v2/org/app/tags/list?last=b&n=`+req.URL.Query().Get("n")+`>; rel="next"`)
				_, _ = fmt.Fprint(w, `{"tags":["a","b"]}`)
			} else {
				_, _ = fmt.Fprint(w, `{"tags":["c"]}`)
			}
			return true
		}
	})
	for _, tt := range []struct{ path, next string }{
		{"/v2/org/app/tags/list?n=2", "/v2/org/app/tags/list?last=b&n=2"},
		{"/v2/org/app/tags/list?n=2&ns=origin.test", "/v2/org/app/tags/list?last=b&n=2&ns=origin.test"},
		{"/v2/origin.test/org/app/tags/list?n=2", "/v2/origin.test/org/app/tags/list?last=b&n=2"},
		{"/v2/origin.test/org/app/referrers/sha256:" + strings.Repeat("0", 64) + "?n=2", "/v2/origin.test/org/app/referrers/sha256:" + strings.Repeat("0", 64) + "?last=b&n=2"},
	} {
		got := r.get(t, tt.path)
		if link := got.header.Get("Link"); link != "<"+tt.next+`>; rel="next"` {
			t.Fatalf("%s: Link %s", tt.path, link)
		}
		if got = r.get(t, tt.next); string(got.body) != `{"tags":["c"]}` || got.header.Get("Link") != "" {
			t.Errorf("%s: %s, Link %q", tt.next, got.body, got.header.Get("Link"))
		}
	}
}
