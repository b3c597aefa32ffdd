//go:build linux

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// save copies the daemons' logs and present metrics into dir.
func save(ctx context.Context, dir string, daemons ...daemon) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, d := range daemons {
		name := filepath.Join(dir, d.host.Name()+"-"+filepath.Base(d.binary))
		errs = append(errs, copyFile(name+".log", filepath.Join(d.dir, logName)), d.saveMetrics(ctx, name+".metrics"))
	}
	return errors.Join(errs...)
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

func (d daemon) saveMetrics(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+"/metrics", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: d.host.DialContext, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("%s: reading metrics: %w", d.host.Name(), err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%s: reading metrics: %w", d.host.Name(), err)
	}
	return os.WriteFile(path, text, 0o644)
}
