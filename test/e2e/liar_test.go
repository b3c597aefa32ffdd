//go:build e2e && linux

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-project/shoal/internal/testimage"
)

// tamper changes the bodies of an origin's blob answers while on is true.
func tamper(on *atomic.Bool, change func(body *tamperedBody)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if on.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
				b := &tamperedBody{ResponseWriter: w}
				change(b)
				w = b
			}
			next.ServeHTTP(w, r)
		})
	}
}

// tamperedBody is one answer on its way through an origin that lies.
type tamperedBody struct {
	http.ResponseWriter
	flip     bool  // every 100,000th byte is wrong
	cutAfter int64 // when positive, the connection breaks there
	extra    int64 // the stated total length is more by this
	sent     int64
}

func (b *tamperedBody) WriteHeader(status int) {
	if h := b.Header(); b.extra != 0 {
		var from, to, total int64
		if _, err := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err == nil {
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, total+b.extra))
		} else if _, err := fmt.Sscan(h.Get("Content-Length"), &total); err == nil {
			h.Set("Content-Length", fmt.Sprint(total+b.extra))
		}
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *tamperedBody) Write(p []byte) (int, error) {
	if b.cutAfter > 0 && b.sent+int64(len(p)) > b.cutAfter {
		panic(http.ErrAbortHandler)
	}
	if b.flip {
		p = append([]byte(nil), p...)
		for i := range p {
			if (b.sent+int64(i))%100_000 == 99_999 {
				p[i] ^= 1
			}
		}
	}
	n, err := b.ResponseWriter.Write(p)
	b.sent += int64(n)
	return n, err
}

func (b *tamperedBody) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func TestOriginThatLies(t *testing.T) {
	const size = 24 << 20
	for what, change := range map[string]func(*tamperedBody){
		"wrong bytes":    func(b *tamperedBody) { b.flip = true },
		"cut short":      func(b *tamperedBody) { b.cutAfter = 1 << 20 },
		"length too big": func(b *tamperedBody) { b.extra = 4096 },
	} {
		t.Run(what, func(t *testing.T) {
			var lying atomic.Bool
			img := must(testimage.Random(10, 1, size))(t)
			g := startGated(t, 0, tamper(&lying, change))
			g.push(t, "lie/image:v1", img)
			g.Open()
			super := startSupernode(t, loopback(), "supernode", g.reach())
			for _, s := range []*supernode{super, nil} {
				p := startPeer(t, loopback(), s, g.reach(), with("origin.retries", 1))
				lying.Store(true)
				layer := layerOf(t, img)
				if err := p.puller(t, g.host()).blob(t.Context(), "lie/image", layer); err == nil && what != "cut short" {
					t.Error("the lie was delivered as the truth")
				}
				lying.Store(false)
				if err := p.puller(t, g.host()).pullWhole(t.Context(), "lie/image", "v1", img); err != nil {
					t.Errorf("when the origin is honest again: %v", err)
				}
			}
		})
	}
}
