package testregistry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Place puts a layer into a repository by writing the registry's own files, with
// holes where the layer has zeros: the way to have a blob of many gigabytes at
// no cost. A push that follows finds it there.
func (r *Debian) Place(repository string, l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	root := filepath.Join(r.dataDir(), "docker", "registry", "v2")
	blob := filepath.Join(root, "blobs", digest.Algorithm, digest.Hex[:2], digest.Hex)
	link := filepath.Join(root, "repositories", repository, "_layers", digest.Algorithm, digest.Hex)
	if err := errors.Join(os.MkdirAll(blob, 0o755), os.MkdirAll(link, 0o755)); err != nil {
		return err
	}
	body, err := l.Compressed()
	if err != nil {
		return err
	}
	defer body.Close()
	if err := writeSparse(filepath.Join(blob, "data"), body); err != nil {
		return fmt.Errorf("placing %s: %w", digest, err)
	}
	return os.WriteFile(filepath.Join(link, "link"), []byte(digest.String()), 0o644)
}

// writeSparse writes r's bytes to a new file and leaves holes for blocks of zeros.
func writeSparse(file string, r io.Reader) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	size, err := copySparse(f, r)
	return errors.Join(err, f.Truncate(size), f.Close())
}

func copySparse(f io.WriterAt, r io.Reader) (int64, error) {
	const block = 64 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	var off int64
	for {
		n, err := io.ReadFull(r, buf)
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := f.WriteAt(buf[:n], off); err != nil {
				return off, err
			}
		}
		off += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return off, nil
		}
		if err != nil {
			return off, err
		}
	}
}
