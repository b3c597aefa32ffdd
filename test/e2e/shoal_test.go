//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/bench/lab"
)

// settings is a configuration file as nested maps. JSON is YAML.
type settings map[string]any

// put sets a dotted key.
func (s settings) put(key string, value any) {
	first, rest, nested := strings.Cut(key, ".")
	if !nested {
		s[first] = value
		return
	}
	child, ok := s[first].(settings)
	if !ok {
		child = settings{}
		s[first] = child
	}
	child.put(rest, value)
}

// place is where a node runs: a host of a lab, or this machine's loopback.
type place struct {
	start starter
	dial  dialer // nil is this process's network
	addr  string
	ports func(t testing.TB, n int) []int
}

func loopback() place {
	return place{start: here, addr: "127.0.0.1", ports: freePorts}
}

func inHost(h *lab.Host) place {
	return place{
		start: func(cmd *exec.Cmd) error { return h.Do(cmd.Start) },
		dial:  h.DialContext,
		addr:  h.Addr().String(),
		ports: func(_ testing.TB, n int) []int { // a namespace of its own: any will do
			all := []int{7410, 7411, 7412, 7413}
			return all[:n]
		},
	}
}

// freePorts finds ports of loopback that nobody listens on now.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func (p place) at(port int) string { return fmt.Sprintf("%s:%d", p.addr, port) }

// node is a supernode or a peer, which may be killed and started again.
type node struct {
	*process
	place  place
	dir    string
	config settings
	kind   string // the program's name
	admin  string // host:port
	probe  string // the admin path that answers 200 once the node is up
}

// registries are what a node is configured to reach: registries by host:port,
// and perhaps one of them as Docker Hub's mirror.
type registries struct {
	hosts []string
	hub   string // host:port; empty is the real one
}

func (r registries) settings() []settings {
	var list []settings
	for _, host := range r.hosts {
		list = append(list, settings{"name": host, "plain_http": true})
	}
	if r.hub != "" {
		list = append(list, settings{"name": "docker.io", "mirrors": []string{"http://" + r.hub}})
	}
	return list
}

func newNode(t testing.TB, kind string, at place, ports []int, reach registries) *node {
	t.Helper()
	n := &node{place: at, dir: directory(t), config: settings{}, kind: kind, admin: at.at(ports[2]), probe: "/readyz"}
	n.config.put("data_dir", n.dir+"/data")
	n.config.put("control.listen", at.at(ports[0]))
	n.config.put("exchange.listen", at.at(ports[1]))
	n.config.put("admin.listen", n.admin)
	n.config.put("admin.socket", n.dir+"/a.sock")
	n.config.put("log.level", "debug")
	n.config.put("origin.registries", reach.settings())
	n.config.put("store.min_free", 0)
	return n
}

func (n *node) file() string { return n.dir + "/" + n.kind + ".yaml" }

// run starts the node and returns when it says that it is ready.
func (n *node) run(t testing.TB) {
	t.Helper()
	text, err := json.MarshalIndent(n.config, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, n.file(), string(text))
	n.process = launch(t, n.place.start, n.dir, nil, program(n.kind), "serve", "--config", n.file())
	n.await(t, "readiness", func(ctx context.Context) error {
		_, err := n.ask(ctx, n.probe)
		return err
	})
}

// ask gets a path of the admin port.
func (n *node) ask(ctx context.Context, path string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{DialContext: n.place.dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s says %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// metric is the sum of a metric's samples that have a label of the value.
func (n *node) metric(t testing.TB, name, value string) float64 {
	t.Helper()
	text, err := n.ask(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("# TYPE "+name+" ")) {
		t.Fatalf("%s has no metric %s", n.kind, name)
	}
	var sum float64
	for line := range strings.Lines(string(text)) {
		sample, number, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.HasPrefix(sample, name+"{") || !strings.Contains(sample, `"`+value+`"`) {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}
