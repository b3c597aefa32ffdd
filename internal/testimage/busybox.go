package testimage

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// busyboxPackage is the Debian package whose one program links nothing.
const busyboxPackage = "busybox-static"

// Bootable is an image that runs: `busybox true`, `busybox sh -c …`. Its second
// layer is [OddEntries]. The program is the machine's /bin/busybox when that is
// static, else that of Debian's package, fetched into dir.
func Bootable(ctx context.Context, dir string, family Family, enc Encoding, config Config) (v1.Image, error) {
	program, err := busybox(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("getting busybox (apt-get install %s): %w", busyboxPackage, err)
	}
	base, err := NewLayer(enc, Tar(rootEntries(program)...))
	if err != nil {
		return nil, err
	}
	odd, err := NewLayer(enc, Tar(OddEntries()...))
	if err != nil {
		return nil, err
	}
	if config.Command == nil {
		config.Command = []string{"/bin/busybox", "true"}
	}
	return Assemble(family, config, base, odd)
}

func rootEntries(busybox []byte) []Entry {
	return []Entry{
		Dir("bin", 0o755), File("bin/busybox", 0o755, busybox), Symlink("bin/sh", "busybox"),
		Dir("dev", 0o755), Dir("proc", 0o555), Dir("sys", 0o555), Dir("tmp", 0o1777), Dir("run", 0o755),
		Dir("etc", 0o755), File("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\n")),
		Dir("gone", 0o755), File("gone/below", 0o644, []byte("hidden by an opaque directory\n")),
		File("etc/removed", 0o644, []byte("removed by a whiteout\n")),
	}
}

func busybox(ctx context.Context, dir string) ([]byte, error) {
	if p, err := os.ReadFile("/bin/busybox"); err == nil && static(p) {
		return p, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	download := exec.CommandContext(ctx, "apt-get", "download", "-q", busyboxPackage)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("apt-get download: %w: %s", err, bytes.TrimSpace(out))
	}
	found, err := filepath.Glob(filepath.Join(dir, busyboxPackage+"_*.deb"))
	if err != nil || len(found) == 0 {
		return nil, errors.Join(err, errors.New("apt-get download left no package"))
	}
	stream, err := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", found[0]).Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-deb: %w", err)
	}
	return member(stream, "bin/busybox")
}

// static tells whether a program needs no dynamic linker.
func static(program []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return false
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

func member(stream []byte, name string) ([]byte, error) {
	tr := tar.NewReader(bytes.NewReader(stream))
	for {
		header, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", name, err)
		}
		clean := filepath.Clean(header.Name)
		if (clean == name || clean == filepath.Join("usr", name)) && header.Typeflag == tar.TypeReg {
			return io.ReadAll(tr)
		}
	}
}
