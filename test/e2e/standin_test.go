//go:build e2e && linux

package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

func startStandIn(t *testing.T, o origins) string {
	mk := func(host string) *httputil.ReverseProxy {
		u, _ := url.Parse("http://" + host)
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	}
	pub, priv := mk(o.public.Host()), mk(o.private.Host())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := pub
		if r.URL.Query().Get("ns") == privateName {
			to = priv
		}
		for name, p := range map[string]*httputil.ReverseProxy{publicName: pub, privateName: priv} {
			if rest, ok := strings.CutPrefix(r.URL.Path, "/v2/"+name+"/"); ok {
				r.URL.Path, to = "/v2/"+rest, p
			}
		}
		to.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
