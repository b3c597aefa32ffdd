package exchange

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// fetchOne asks for an object of one block.
func fetchOne(t *testing.T, c *Client, from distribution.Member, o *object) error {
	t.Helper()
	tr, err := c.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 1}})
	if err != nil {
		return err
	}
	defer tr.Body.Close()
	_, err = io.Copy(io.Discard, tr.Body)
	return err
}

func TestOutsidersGetNothing(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		o := newObject(100)
		from, srv := serve(t, cfg, storeOf(o))
		for name, key := range map[string][]byte{"another key": []byte("another key"), "no key": nil} {
			if err := fetchOne(t, newTestClient(t, cfg, key), from, o); !errors.Is(err, distribution.ErrMembership) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if o.opened != 0 {
			t.Error("an outsider's request reached the store")
		}
		if len(srv.seen.buckets) != 0 {
			t.Error("an outsider's proof was remembered")
		}
	})
}

func TestTheOtherNodeMustBeWhoItShouldBe(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		o := newObject(100)
		from, _ := serve(t, cfg, storeOf(o))
		from.ID = newNode(t).id
		if err := fetchOne(t, newTestClient(t, cfg, networkKey), from, o); !errors.Is(err, distribution.ErrMembership) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMixedSecurityIsExplained(t *testing.T) {
	o := newObject(100)
	for there, here := range map[Security]Security{TLS: Clear, Clear: TLS} {
		from, _ := serve(t, configOf(there), storeOf(o))
		err := fetchOne(t, newTestClient(t, configOf(here), networkKey), from, o)
		if err == nil || !strings.Contains(err.Error(), errMixed(there, here).Error()) {
			t.Errorf("%s asks %s: %v", here, there, err)
		}
	}
}

// ask sends a raw request in clear text and gives the status.
func ask(t *testing.T, addr, text string) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// rawRequest is a request in clear text with a valid proof.
func rawRequest(t *testing.T, server distribution.NodeID, r request, at time.Time) string {
	t.Helper()
	m, err := newMembership(newNode(t).id, networkKey)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nRange: %s\r\n%s: %s\r\n\r\n",
		r.method, r.path, r.rng, headerProof, m.clearProof(server, r, at))
}

func TestAClearProofServesOnceAndForItsRequestOnly(t *testing.T) {
	o := newObject(2 * chunk.BlockSize)
	from, _ := serve(t, configOf(Clear), storeOf(o))
	path := pathPrefix + o.digest().String()
	r := request{"GET", path, "bytes=0-262143"}
	text := rawRequest(t, from.ID, r, time.Now())
	if got := ask(t, from.Chunks, text); got != http.StatusPartialContent {
		t.Fatalf("the first time: %d", got)
	}
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"again":           {text, http.StatusConflict},
		"another range":   {strings.Replace(text, "0-262143", "262144-524287", 1), http.StatusForbidden},
		"another path":    {strings.Replace(text, path, path[:len(path)-1]+"0", 1), http.StatusForbidden},
		"another method":  {strings.Replace(text, "GET", "PUT", 1), http.StatusForbidden},
		"an old one":      {rawRequest(t, from.ID, r, time.Now().Add(-62*time.Second)), http.StatusForbidden},
		"an early one":    {rawRequest(t, from.ID, r, time.Now().Add(62*time.Second)), http.StatusForbidden},
		"another server":  {rawRequest(t, newNode(t).id, r, time.Now()), http.StatusForbidden},
		"no proof":        {"GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusForbidden},
		"garbage":         {"GET / HTTP/1.1\r\nHost: x\r\nShoal-Proof: a b c d\r\n\r\n", http.StatusForbidden},
		"not this path":   {rawRequest(t, from.ID, request{"GET", "/v1/objects/", ""}, time.Now()), http.StatusNotFound},
		"up and out":      {rawRequest(t, from.ID, request{"GET", "/v1/objects/../../etc/passwd", ""}, time.Now()), http.StatusNotFound},
		"no range":        {rawRequest(t, from.ID, request{"GET", path, ""}, time.Now()), http.StatusRequestedRangeNotSatisfiable},
		"HEAD":            {rawRequest(t, from.ID, request{"HEAD", path, r.rng}, time.Now()), http.StatusMethodNotAllowed},
		"OPTIONS *":       {rawRequest(t, from.ID, request{"OPTIONS", "*", ""}, time.Now()), http.StatusMethodNotAllowed},
		"a body":          {strings.Replace(rawRequest(t, from.ID, r, time.Now()), "Host", "Content-Length: 9\r\nHost", 1), http.StatusBadRequest},
		"a header of 1MB": {"GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
	} {
		if got := ask(t, from.Chunks, c.text); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestNoncesAreBoundedAndForgotten(t *testing.T) {
	s, now := newNonces(), time.Unix(1_000_000, 0)
	s.max = 2
	if err := s.use(nonce{1}, now.Add(maxSkew), now); err != nil {
		t.Fatal(err)
	}
	if err := s.use(nonce{2}, now.Add(-maxSkew), now); err != nil {
		t.Fatal(err)
	}
	if _, full := errors.AsType[*distribution.BusyError](s.use(nonce{3}, now, now)); !full {
		t.Error("a third one was taken")
	}
	for at := now; at.Before(now.Add(2 * maxSkew)); at = at.Add(time.Second) {
		if err := s.use(nonce{1}, now.Add(maxSkew), at); !errors.Is(err, errReused) {
			t.Fatalf("after %s: %v", at.Sub(now), err)
		}
	}
	s.expire(now.Add(2*maxSkew + nonceBucket + time.Second))
	if s.count != 0 || len(s.buckets) != 0 {
		t.Errorf("%d are never forgotten", s.count)
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		cfg.RequestTimeout = 200 * time.Millisecond
		from, srv := serve(t, cfg, storeOf())
		c, err := net.Dial("tcp", from.Chunks)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := map[Security]string{TLS: "\x16\x03\x01\x02", Clear: "GET / HTTP/1.1\r\nHost: "}[cfg.Security]
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection stays open")
		}
		eventually(t, func() bool { return srv.conns.Load() == 0 })
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := configOf(Clear)
	cfg.MaxConns = 1
	from, srv := serve(t, cfg, storeOf())
	first, err := net.Dial("tcp", from.Chunks)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	eventually(t, func() bool { return srv.conns.Load() == 1 })
	second, err := net.Dial("tcp", from.Chunks)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second connection stays: %v", err)
	}
	eventually(t, func() bool { return srv.conns.Load() == 1 })
}

func TestServingForAllNeedsANetworkKey(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := NewServer(Default(), newNode(t).key, nil, storeOf(), slog.New(slog.DiscardHandler), NewMetrics(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(within(t), l); err == nil || !strings.Contains(err.Error(), "supernode key new") {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

func TestOnlyTLS13WithACertificate(t *testing.T) {
	from, _ := serve(t, configOf(TLS), storeOf())
	for name, cfg := range map[string]*tls.Config{
		"TLS 1.2":        {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12},
		"no certificate": {InsecureSkipVerify: true},
	} {
		c, err := tls.Dial("tcp", from.Chunks, cfg)
		if err == nil { // the server's verdict on a certificate comes with the first read
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if _, refused := errors.AsType[*net.OpError](err); !refused || !strings.Contains(err.Error(), "tls:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, field := range []string{"security", "slots", "max_conns", "stall", "first_byte", "request_timeout", "dial_timeout", "response_timeout", "idle_timeout"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
}
