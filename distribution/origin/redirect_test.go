package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// signedStorage is a registry on one host that redirects to storage on another,
// under URLs that are good for uses requests each.
type signedStorage struct {
	resolved, served atomic.Int32
	leaked           atomic.Bool
	registry         string
}

func newSignedStorage(t *testing.T, data []byte, uses int32, refuse int) (*signedStorage, Config) {
	st := &signedStorage{}
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			st.leaked.Store(true)
		}
		n := st.served.Add(1)
		if r.URL.Query().Get("signature") != fmt.Sprint((n-1)/uses+1) {
			st.served.Add(-1)
			w.WriteHeader(refuse)
			return
		}
		ranged(data)(w, r)
	})
	// The same address by another name is another host.
	target := strings.Replace(storage.URL, "127.0.0.1", "localhost", 1)
	registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer mine" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		st.resolved.Add(1)
		http.Redirect(w, r, target+"/data?signature="+fmt.Sprint(st.served.Load()/uses+1), http.StatusTemporaryRedirect)
	})
	st.registry = hostOf(registry)
	return st, testConfig(registry)
}

func TestExpiredRedirectIsResolvedAgain(t *testing.T) {
	data := content(5 * chunk.Size)
	for _, refuse := range []int{400, 401, 403, 404} {
		st, cfg := newSignedStorage(t, data, 2, refuse)
		b := open(t, newClient(t, cfg), distribution.Source{
			Registry: st.registry, Repository: "lib/app", Digest: chunk.SumBytes(data), Authorization: "Bearer mine",
		})
		for i := range chunk.Count(b.Size()) {
			got, err := readRange(b, int64(i)*chunk.Size, chunk.Size)
			if err != nil || chunk.SumBytes(got) != chunk.SumBytes(data[i*chunk.Size:(i+1)*chunk.Size]) {
				t.Fatalf("%d: chunk %d: %v", refuse, i, err)
			}
		}
		if st.leaked.Load() {
			t.Error("the Authorization header went to another host")
		}
		if n := st.resolved.Load(); n != 3 {
			t.Errorf("%d: the registry was asked %d times for 5 ranges, want 3", refuse, n)
		}
	}
}

func TestRedirectThatNeverWorks(t *testing.T) {
	var resolved atomic.Int32
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
		resolved.Add(1)
		http.Redirect(w, r, strings.Replace(storage.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
	})
	_, err := newClient(t, testConfig(registry)).Open(context.Background(), sourceOf(registry, nil))
	var refused *distribution.OriginError
	if !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("got %v, want the 403", err)
	}
	if resolved.Load() != 2 {
		t.Errorf("resolved %d times, want 2", resolved.Load())
	}
}

func TestRedirectOnTheSameHostKeepsCredentials(t *testing.T) {
	data := content(100)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer mine":
			w.WriteHeader(401)
		case strings.HasPrefix(r.URL.Path, "/v2/"):
			http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
		default:
			ranged(data)(w, r)
		}
	})
	src := sourceOf(s, data)
	src.Authorization = "Bearer mine"
	wantWhole(t, open(t, newClient(t, testConfig(s)), src), data)
}
