//go:build linux

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/shoal-project/shoal/bench/image"
	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// readyTimeout bounds how long a daemon may take to answer after its start.
const readyTimeout = 30 * time.Second

const registryConfig = `version: 0.1
log:
  level: error
  accesslog: {disabled: false}
storage:
  filesystem: {rootdirectory: %q, maxthreads: 100}
  maintenance:
    uploadpurging: {enabled: false}
http:
  addr: %q
  secret: of-no-use-to-anybody
`

// Registry is a docker-registry of the Debian package of that name.
type Registry struct {
	*lab.Process
	host *lab.Host
	addr netip.AddrPort
	data string
	log  string
}

// RegistryVersion is what docker-registry says of itself.
func RegistryVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, testregistry.Program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w; install it: apt-get install %s", testregistry.Program, err, testregistry.Program)
	}
	fields := strings.Fields(string(out))
	return testregistry.Program + " " + fields[len(fields)-1], nil
}

// StartRegistry starts a registry on a host and waits until it answers.
func StartRegistry(ctx context.Context, host *lab.Host, addr netip.AddrPort) (*Registry, error) {
	dir := filepath.Join(host.Dir(), "registry")
	r := &Registry{host: host, addr: addr, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log")}
	if err := os.MkdirAll(r.data, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, registryConfig, r.data, addr), 0o600); err != nil {
		return nil, err
	}
	output, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	r.Process, err = host.Start(lab.Command{Args: []string{testregistry.Program, "serve", config}, Stdout: output, Stderr: output})
	if err != nil {
		return nil, err
	}
	if err := waitReady(ctx, host, r.Process, "http://"+addr.String()+"/v2/"); err != nil {
		return nil, errors.Join(err, logTail(r.log))
	}
	return r, nil
}

// Addr is where the registry listens.
func (r *Registry) Addr() netip.AddrPort { return r.addr }

// Push stores an image, over the registry host's loopback: no link is used.
func (r *Registry) Push(ctx context.Context, img *image.Image, repository, tag string) error {
	transport := &http.Transport{DialContext: r.host.DialContext}
	defer transport.CloseIdleConnections()
	return img.Push(ctx, r.addr.String(), repository, tag, transport)
}

// Forget deletes an image's blobs and its repository from the disk, to give
// their memory back. The registry keeps nothing about them itself.
func (r *Registry) Forget(img *image.Image, repository string) error {
	root := filepath.Join(r.data, "docker/registry/v2")
	errs := []error{os.RemoveAll(filepath.Join(root, "repositories", repository))}
	for _, digest := range img.Digests() {
		hex := strings.TrimPrefix(digest, "sha256:")
		errs = append(errs, os.RemoveAll(filepath.Join(root, "blobs/sha256", hex[:2], hex)))
	}
	return errors.Join(errs...)
}

// Mark is the present end of the access log.
func (r *Registry) Mark() (int64, error) {
	info, err := os.Stat(r.log)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Since reads the access log from a mark on.
func (r *Registry) Since(mark int64) (testregistry.Log, error) {
	file, err := os.Open(r.log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(mark, io.SeekStart); err != nil {
		return nil, err
	}
	return testregistry.ParseLog(file)
}

// waitReady asks a daemon until it answers 200, it ends, or time is up.
func waitReady(ctx context.Context, host *lab.Host, p *lab.Process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	transport := &http.Transport{DialContext: host.DialContext}
	defer transport.CloseIdleConnections()
	var last error
	for {
		if last = answers(ctx, transport, url); last == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s: ended before it was ready: %w", host.Name(), p.Wait(ctx))
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready: %w", host.Name(), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, transport http.RoundTripper, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

// logTail is the end of a daemon's log, as an error to join to another.
func logTail(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return fmt.Errorf("its log ends: %s", text[max(0, len(text)-2000):])
}
