package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// origin is a registry in this process that has one image.
type origin struct {
	*testregistry.Embedded
	server *http.Server
	served chan error
	host   string // its address, as in image names
	image  string
	items  []testimage.Item
	bytes  int64 // of all blobs
}

func startRegistry(ctx context.Context, dir string) (*origin, error) {
	embedded, err := testregistry.NewEmbedded(filepath.Join(dir, "registry"))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{
		Embedded: embedded, served: make(chan error, 1), host: l.Addr().String(), image: l.Addr().String() + "/go:latest",
		server: &http.Server{Handler: embedded, ReadHeaderTimeout: 10 * time.Second},
	}
	go func() { o.served <- o.server.Serve(l) }()
	if err := o.fill(ctx); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// fill pushes the image, and forgets that anybody did.
func (o *origin) fill(ctx context.Context) error {
	img, err := testimage.GoTree(ctx, testimage.Plain)
	if err != nil {
		return err
	}
	if err := testimage.Push(ctx, o.image, img); err != nil {
		return err
	}
	if o.items, err = testimage.Items(img); err != nil {
		return err
	}
	o.bytes, err = testimage.BlobBytes(img)
	o.ResetLog()
	return err
}

func (o *origin) close() error {
	err := o.server.Close()
	if served := <-o.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
