//go:build e2e && linux

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/internal/testimage"
)

// puller is the smallest honest registry client: it fetches whatever a manifest
// names, whole, and believes nothing but digests.
type puller struct {
	client *http.Client
	host   string // host:port of the registry or mirror
	prefix string // goes before repositories: "127.0.0.1_5000/"
	auth   string // the Authorization header; empty is none
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// newPuller asks a mirror for what lies at a registry, by the prefix form. A nil
// dial is this process's network.
func newPuller(t testing.TB, dial dialer, mirror, registry string) *puller {
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &puller{client: &http.Client{Transport: transport}, host: mirror, prefix: escaped(registry) + "/"}
}

// escaped is how the prefix form spells a registry with a port.
func escaped(registry string) string { return strings.ReplaceAll(registry, ":", "_") }

// manifestTypes is what engines accept.
var manifestTypes = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
}, ", ")

// request asks for /v2/<repository>/<kind>/<reference>.
func (p *puller) request(ctx context.Context, method, repository, kind, reference string, header ...string) (*http.Response, error) {
	url := fmt.Sprintf("http://%s/v2/%s%s/%s/%s", p.host, p.prefix, repository, kind, reference)
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if kind == "manifests" {
		req.Header.Set("Accept", manifestTypes)
	}
	if p.auth != "" {
		req.Header.Set("Authorization", p.auth)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return p.client.Do(req)
}

// ok is request that takes an answer other than 200 and 206 for an error.
func (p *puller) ok(ctx context.Context, repository, kind, reference string, header ...string) (*http.Response, error) {
	resp, err := p.request(ctx, http.MethodGet, repository, kind, reference, header...)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		resp.Body.Close()
		return nil, fmt.Errorf("%s %s of %s: %s: %s", kind, reference, repository, resp.Status, text)
	}
	return resp, nil
}

// blob fetches a blob and checks digest and size.
func (p *puller) blob(ctx context.Context, repository string, d v1.Descriptor) error {
	resp, err := p.ok(ctx, repository, "blobs", d.Digest.String())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return drain(resp.Body, d)
}

// drain reads a body to its end and compares it with its descriptor.
func drain(body io.Reader, d v1.Descriptor) error {
	got, size, err := v1.SHA256(body)
	if err != nil {
		return fmt.Errorf("blob %s broke off at byte %d of %d: %w", d.Digest, size, d.Size, err)
	}
	if got != d.Digest || size != d.Size {
		return fmt.Errorf("blob %s of %d bytes arrived as %s of %d", d.Digest, d.Size, got, size)
	}
	return nil
}

// pull fetches an image or index with all that it names, as engines do: the
// manifests, then three blobs at a time. It returns the digests that it saw.
func (p *puller) pull(ctx context.Context, repository, reference string) (map[string]bool, error) {
	seen := map[string]bool{}
	var blobs []v1.Descriptor
	if err := p.manifests(ctx, repository, reference, seen, &blobs); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(3)
	for _, d := range blobs {
		if !seen[d.Digest.String()] {
			seen[d.Digest.String()] = true
			group.Go(func() error { return p.blob(ctx, repository, d) })
		}
	}
	return seen, group.Wait()
}

func (p *puller) manifests(ctx context.Context, repository, reference string, seen map[string]bool, blobs *[]v1.Descriptor) error {
	resp, err := p.ok(ctx, repository, "manifests", reference)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", reference, err)
	}
	sum := sha256.Sum256(text)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if strings.Contains(reference, ":") && reference != digest {
		return fmt.Errorf("manifest %s arrived as %s", reference, digest)
	}
	seen[digest] = true
	var m struct {
		Config            v1.Descriptor
		Layers, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("manifest %s: %w", reference, err)
	}
	for _, child := range m.Manifests {
		if err := p.manifests(ctx, repository, child.Digest.String(), seen, blobs); err != nil {
			return err
		}
	}
	if len(m.Layers) > 0 {
		*blobs = append(append(*blobs, m.Config), m.Layers...)
	}
	return nil
}

// pullWhole pulls and checks that exactly the content's digests came.
func (p *puller) pullWhole(ctx context.Context, repository, reference string, content remote.Taggable) error {
	seen, err := p.pull(ctx, repository, reference)
	if err != nil {
		return err
	}
	want, err := testimage.Items(content)
	if err != nil {
		return err
	}
	for _, item := range want {
		if !seen[item.Digest.String()] {
			return fmt.Errorf("%s did not come", item.Digest)
		}
		delete(seen, item.Digest.String())
	}
	if len(seen) > 0 {
		return fmt.Errorf("unknown digests came: %v", seen)
	}
	return nil
}
