package testimage

import (
	"archive/tar"
	"fmt"
	"io"
)

// Source opens a run of bytes at its beginning; every call gives the same bytes.
type Source func() (io.ReadCloser, error)

// Tar is the stream of a layer with these entries.
func Tar(entries ...Entry) Source {
	return produced(func(w io.Writer) error { return writeTar(w, entries) })
}

func writeTar(w io.Writer, entries []Entry) error {
	tw := tar.NewWriter(w)
	for _, e := range entries {
		if err := writeEntry(tw, e); err != nil {
			return fmt.Errorf("writing %q: %w", e.Header.Name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, e Entry) error {
	header := e.Header
	if header.ModTime.IsZero() {
		header.ModTime = epoch
	}
	if err := tw.WriteHeader(&header); err != nil {
		return err
	}
	if e.Open == nil {
		return nil
	}
	body, err := e.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(tw, body)
	return err
}

// produced turns a writing function into a Source. The function runs in a
// goroutine that ends before the reader's Close returns.
func produced(write func(io.Writer) error) Source {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.CloseWithError(write(w))
		}()
		return &producedReader{PipeReader: r, done: done}, nil
	}
}

type producedReader struct {
	*io.PipeReader
	done chan struct{}
}

func (r *producedReader) Close() error {
	err := r.PipeReader.Close()
	<-r.done
	return err
}
