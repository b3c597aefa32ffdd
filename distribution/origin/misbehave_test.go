package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// ranges records the Range headers that a server saw.
type ranges struct {
	mu   sync.Mutex
	seen []string
}

func (r *ranges) add(req *http.Request) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, strings.TrimPrefix(req.Header.Get("Range"), "bytes="))
	return len(r.seen)
}

func (r *ranges) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// whole serves data without ranges.
func whole(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data)
	}
}

func TestWithoutRangesOneStream(t *testing.T) {
	data := content(chunk.Size + 1000)
	var seen ranges
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		whole(data)(w, r)
	})
	b := open(t, newClient(t, testConfig(s)), sourceOf(s, data))
	if b.Ranged() {
		t.Fatal("ranged, though the registry ignores Range")
	}
	for _, span := range [][2]int64{{0, 1000}, {1000, 2000}, {4000, 500}, {4500, int64(len(data)) - 4500}} {
		got, err := readRange(b, span[0], span[1])
		if err != nil || !bytes.Equal(got, data[span[0]:span[0]+span[1]]) {
			t.Fatalf("read %v: %d bytes, %v", span, len(got), err)
		}
	}
	if n := len(seen.all()); n != 1 {
		t.Errorf("%d requests for reading onward, want 1", n)
	}
	if got, err := readRange(b, 10, 20); err != nil || !bytes.Equal(got, data[10:30]) {
		t.Fatalf("reading back: %v", err)
	}
	if n := len(seen.all()); n != 2 {
		t.Errorf("%d requests after reading back, want 2", n)
	}
}

// abort ends the connection without the rest of the body.
func abort(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestResumesWhereItBroke(t *testing.T) {
	data := content(chunk.Size)
	const broken = 1 << 20
	var seen ranges
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if seen.add(r) == 1 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data)))
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[:broken])
			abort(w)
		}
		ranged(data)(w, r)
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
	want := []string{"0-4194303", fmt.Sprintf("%d-4194303", broken)}
	if d := cmp.Diff(want, seen.all()); d != "" {
		t.Errorf("ranges asked for (-want +got):\n%s", d)
	}
}

func TestResumesAfterStall(t *testing.T) {
	data := content(2 << 20)
	const sent = 300 << 10
	release := make(chan struct{})
	var seen ranges
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if seen.add(r) == 1 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[:sent])
			_ = http.NewResponseController(w).Flush()
			<-release
			return
		}
		ranged(data)(w, r)
	})
	defer close(release)
	cfg := testConfig(s)
	cfg.Timeout = 100 * time.Millisecond
	wantWhole(t, open(t, newClient(t, cfg), sourceOf(s, data)), data)
	want := []string{"0-4194303", fmt.Sprintf("%d-%d", sent, len(data)-1)}
	if d := cmp.Diff(want, seen.all()); d != "" {
		t.Errorf("ranges asked for (-want +got):\n%s", d)
	}
}

func TestStreamWithoutRangesStartsAgain(t *testing.T) {
	data := content(1 << 20)
	var seen ranges
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		if seen.add(r) == 1 {
			_, _ = w.Write(data[:5000])
			abort(w)
		}
		_, _ = w.Write(data)
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
}

func TestPassingFailuresArePassedOver(t *testing.T) {
	data := content(chunk.Size + 5)
	for _, status := range []int{429, 500, 502, 503, 504} {
		var n atomic.Int32
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%2 == 1 {
				w.WriteHeader(status)
				return
			}
			ranged(data)(w, r)
		})
		wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
	}
}

func TestRetryAfterHoldsForTheRegistry(t *testing.T) {
	data := content(100)
	var first, second atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		second.CompareAndSwap(0, time.Now().UnixNano())
		ranged(data)(w, r)
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
	if d := time.Duration(second.Load() - first.Load()); d < time.Second {
		t.Errorf("asked again after %s, though told to wait a second", d)
	}
}

func TestGivesUp(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		status  int
		tries   int32
	}{
		{"too long a Retry-After", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}, 429, 1},
		{"always 503", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, 503, 5},
		{"404", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, 404, 1},
		{"403", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, 403, 1},
		{"no answer", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 0, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request) { n.Add(1); tt.handler(w, r) })
			_, err := newClient(t, testConfig(s)).Open(context.Background(), sourceOf(s, nil))
			var refused *distribution.OriginError
			if !errors.As(err, &refused) || refused.Status != tt.status {
				t.Errorf("got %v, want status %d", err, tt.status)
			}
			if n.Load() != tt.tries {
				t.Errorf("%d requests, want %d", n.Load(), tt.tries)
			}
		})
	}
}

// TestLiesAboutTheFirstAnswer: what contradicts the question is an error, and
// is not asked for again.
func TestLiesAboutTheFirstAnswer(t *testing.T) {
	partial := func(contentRange string, n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.Header().Set("Content-Length", strconv.Itoa(n))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, n))
		}
	}
	tests := map[string]http.HandlerFunc{
		"another start":      partial("bytes 1-100/101", 100),
		"an end beyond":      partial("bytes 0-4194304/5000000", 4194305),
		"an end past total":  partial("bytes 0-100/100", 101),
		"not a range":        partial("chunks 0-99/100", 100),
		"no range":           partial("", 100),
		"another length":     partial("bytes 0-99/100", 50),
		"too large":          partial(fmt.Sprintf("bytes 0-0/%d", int64(chunk.MaxObject)+1), 1),
		"too large to count": partial("bytes 0-0/99999999999999999999", 1),
		"encoded": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			whole(content(10))(w, r)
		},
		"another digest": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Docker-Content-Digest", chunk.SumBytes([]byte("other")).String())
			whole(content(10))(w, r)
		},
		"no content": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
		"big header": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Big", strings.Repeat("x", 1<<20))
			whole(content(10))(w, r)
		},
		"redirect to nowhere": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(302) },
		"redirect to a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"redirect in a circle": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		},
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			s := serve(t, h)
			b, err := newClient(t, testConfig(s)).Open(context.Background(), sourceOf(s, content(10)))
			var refused *distribution.OriginError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, %v, want an OriginError", b, err)
			}
			if strings.ContainsAny(refused.Message, "\r\n") || len(refused.Message) > 2*maxText {
				t.Errorf("message %q is not one bounded line", refused.Message)
			}
		})
	}
}

func TestLiesMidBlob(t *testing.T) {
	data := content(2 * chunk.Size)
	changed := content(2*chunk.Size + 1)
	tests := map[string]http.HandlerFunc{
		"size changed": ranged(changed),
		"etag changed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"two"`)
			ranged(data)(w, r)
		},
		"start moved": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=0-9")
			ranged(data)(w, r)
		},
		"whole of another size": whole(changed),
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					w.Header().Set("ETag", `"one"`)
					ranged(data)(w, r)
					return
				}
				h(w, r)
			})
			b := open(t, newClient(t, testConfig(s)), sourceOf(s, data))
			_, err := readRange(b, chunk.Size, chunk.Size)
			var refused *distribution.OriginError
			if !errors.As(err, &refused) || refused.Status != 0 {
				t.Errorf("got %v, want an OriginError about the answer", err)
			}
		})
	}
}

func TestUnknownSize(t *testing.T) {
	data := content(1000)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write(data[:500])
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data[500:])
		}
	})
	c := newClient(t, testConfig(s))
	src := sourceOf(s, data)
	if _, err := c.Open(context.Background(), src); !errors.Is(err, ErrNoSize) {
		t.Errorf("blob: got %v, want ErrNoSize", err)
	}
	src.Manifest = true
	wantWhole(t, open(t, c, src), data)
}

func TestShortRangesAreCompleted(t *testing.T) {
	data := content(chunk.Size)
	const most = 1 << 20
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var first, last int64
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
			t.Error(err)
		}
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, min(last, first+most-1)))
		ranged(data)(w, r)
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
}

func TestOneByteRangesAreRefused(t *testing.T) {
	data := content(1000)
	var n atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		first, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
		r.Header.Set("Range", "bytes="+first+"-"+first)
		ranged(data)(w, r)
	})
	b := open(t, newClient(t, testConfig(s)), sourceOf(s, data))
	if _, err := readRange(b, 0, 1000); err == nil {
		t.Error("read a blob byte by byte")
	}
	if n.Load() > 10 {
		t.Errorf("%d requests", n.Load())
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	data := content(2 * chunk.Size)
	release := make(chan struct{})
	var n atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 {
			<-release
			return
		}
		ranged(data)(w, r)
	})
	defer close(release)
	b := open(t, newClient(t, testConfig(s)), sourceOf(s, data))
	ctx, cancel := context.WithCancel(context.Background())
	r, err := b.Read(ctx, chunk.Size, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func TestReadOutside(t *testing.T) {
	data := content(100)
	s := serve(t, ranged(data))
	b := open(t, newClient(t, testConfig(s)), sourceOf(s, data))
	for _, span := range [][2]int64{{-1, 5}, {0, 101}, {101, 0}, {50, -1}, {1, 1<<63 - 1}} {
		if _, err := b.Read(context.Background(), span[0], span[1]); err == nil {
			t.Errorf("read %v of 100 bytes", span)
		}
	}
}
