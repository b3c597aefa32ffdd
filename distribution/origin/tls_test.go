package origin

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTLS(t *testing.T) {
	data := content(100)
	proto := make(chan string, 10)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto <- r.Proto
		ranged(data)(w, r)
	}))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = discardLogger()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	no := false
	cfg := testConfig(secure)
	cfg.Registries[0].PlainHTTP = &no

	_, err := newClient(t, cfg).Open(context.Background(), sourceOf(secure, data))
	if err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("an unknown authority: got %v, want a hint at ca_file", err)
	}
	cfg.Registries[0].CAFile = ca
	wantWhole(t, open(t, newClient(t, cfg), sourceOf(secure, data)), data)
	if p := <-proto; p != "HTTP/1.1" {
		t.Errorf("spoke %s, want HTTP/1.1", p)
	}

	plain := serve(t, ranged(data))
	cfg = testConfig(plain)
	cfg.Registries[0].PlainHTTP = &no
	_, err = newClient(t, cfg).Open(context.Background(), sourceOf(plain, data))
	if err == nil || !strings.Contains(err.Error(), "plain_http: true") {
		t.Errorf("a clear text registry: got %v, want a hint at plain_http", err)
	}
}
