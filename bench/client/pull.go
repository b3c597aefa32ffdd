package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxManifest bounds what is read as a manifest.
const maxManifest = 4 << 20

// readSize is how much of a body is read at once.
const readSize = 256 << 10

// Job says what to pull from where.
type Job struct {
	// Base is the registry, such as http://127.0.0.1:7410.
	Base string
	// Namespace is sent as ?ns=, as containerd does to name the origin to a
	// mirror. Empty: not sent.
	Namespace  string
	Repository string
	Reference  string
}

// Result is what a pull took, in seconds from its start.
type Result struct {
	Total      float64 `json:"total_s"`
	Manifest   float64 `json:"manifest_s"`
	FirstByte  float64 `json:"first_byte_s"`
	Bytes      int64   `json:"bytes"`
	PeakMemory int64   `json:"peak_memory"`
	Error      string  `json:"error,omitempty"`
}

type descriptor struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

type manifest struct {
	Config descriptor   `json:"config"`
	Layers []descriptor `json:"layers"`
}

// pull is one run of a job.
type pull struct {
	job   Job
	http  *http.Client
	start time.Time

	mu    sync.Mutex
	first time.Duration
	bytes int64
	errs  []error
}

// Pull runs the job.
func Pull(ctx context.Context, h *http.Client, job Job) Result {
	p := &pull{job: job, http: h, start: time.Now()}
	var result Result
	m, err := p.manifest(ctx)
	if err != nil {
		return Result{Error: err.Error()}
	}
	result.Manifest = time.Since(p.start).Seconds()
	var blobs sync.WaitGroup
	blobs.Go(func() { p.note(p.blob(ctx, m.Config, false)) })
	for _, layer := range m.Layers {
		blobs.Go(func() { p.note(p.blob(ctx, layer, true)) })
	}
	blobs.Wait()
	result.Total = time.Since(p.start).Seconds()
	result.FirstByte, result.Bytes = p.first.Seconds(), p.bytes
	if len(p.errs) > 0 {
		result.Error = p.errs[0].Error()
	}
	return result
}

func (p *pull) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

func (p *pull) get(ctx context.Context, kind, name string) (*http.Response, error) {
	address := fmt.Sprintf("%s/v2/%s/%s/%s", p.job.Base, p.job.Repository, kind, name)
	if p.job.Namespace != "" {
		address += "?ns=" + url.QueryEscape(p.job.Namespace)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
	response, err := p.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 512))
		response.Body.Close()
		return nil, fmt.Errorf("GET %s: %s: %s", address, response.Status, body)
	}
	return response, nil
}

func (p *pull) manifest(ctx context.Context) (manifest, error) {
	response, err := p.get(ctx, "manifests", p.job.Reference)
	if err != nil {
		return manifest{}, err
	}
	defer response.Body.Close()
	var m manifest
	if err := json.NewDecoder(io.LimitReader(response.Body, maxManifest)).Decode(&m); err != nil {
		return manifest{}, fmt.Errorf("manifest of %s: %w", p.job.Reference, err)
	}
	return m, nil
}

// blob reads a blob to its end and compares it with its descriptor.
func (p *pull) blob(ctx context.Context, want descriptor, layer bool) error {
	response, err := p.get(ctx, "blobs", want.Digest)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	hash, buffer := sha256.New(), make([]byte, readSize)
	var size int64
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 {
			p.arrived(n, layer)
			hash.Write(buffer[:n])
			size += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("blob %s after %d of %d bytes: %w", want.Digest, size, want.Size, err)
		}
	}
	if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); got != want.Digest || size != want.Size {
		return fmt.Errorf("blob %s of %d bytes came as %s of %d", want.Digest, want.Size, got, size)
	}
	return nil
}

// arrived counts bytes and remembers the first of any layer.
func (p *pull) arrived(n int, layer bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += int64(n)
	if layer && p.first == 0 {
		p.first = time.Since(p.start)
	}
}
