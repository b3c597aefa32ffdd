package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/internal/testimage"
)

// together is how many blobs a client pulls at a time, as docker does.
const together = 3

// pullEverywhere pulls the image through all peers at once.
func pullEverywhere(ctx context.Context, c *cluster, o *origin) (*result, error) {
	r := &result{image: o.bytes, layers: len(o.items), rows: make([]row, len(c.peers))}
	before, err := c.cpu(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	group, pulling := errgroup.WithContext(ctx)
	for i, n := range c.peers {
		group.Go(func() error {
			r.rows[i].name = n.name
			if err := pullAll(pulling, n, o); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			r.rows[i].took = time.Since(began)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	after, err := c.cpu(ctx)
	if err != nil {
		return nil, err
	}
	r.cpu = after - before
	r.origin = o.Log().TotalBlobBytes()
	return r, c.received(ctx, r)
}

// pullAll reads every manifest and blob through a peer's registry port, like any
// engine, and checks its digest.
func pullAll(ctx context.Context, n *node, o *origin) error {
	s, err := n.status(ctx)
	if err != nil {
		return err
	}
	base := "http://" + s.Listen["registry"] + "/v2/" + inPath(o.host) + "/go/"
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for _, item := range o.items {
		group.Go(func() error { return check(ctx, base, item) })
	}
	return group.Wait()
}

// inPath writes a registry's name as a path component that docker accepts too.
func inPath(host string) string { return strings.ReplaceAll(host, ":", "_") }

func check(ctx context.Context, base string, item testimage.Item) (err error) {
	kind := "blobs/"
	if item.Manifest {
		kind = "manifests/"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+kind+item.Digest.String(), nil)
	if err != nil {
		return err
	}
	if item.Manifest {
		request.Header.Set("Accept", string(item.MediaType))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", request.URL, response.Status)
	}
	hash := sha256.New()
	size, err := io.Copy(hash, response.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", item.Digest, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != item.Digest.Hex || size != item.Size {
		return fmt.Errorf("%s: got %d bytes with digest %s", item.Digest, size, got)
	}
	return nil
}
