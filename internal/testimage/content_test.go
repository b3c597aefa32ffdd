package testimage

import (
	"archive/tar"
	"io"
	"os/exec"
	"testing"
)

func TestGoTreeHoldsTheToolchain(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: reads the whole Go tree")
	}
	img, err := GoTree(t.Context(), Plain)
	if err != nil {
		t.Fatal(err)
	}
	total, err := BlobBytes(img)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) < 4 || total < 100<<20 {
		t.Errorf("%d layers, %d bytes: want at least 4 and 100 MiB", len(layers), total)
	}
}

func TestBootableHoldsAStaticBusybox(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("SKIP: apt-get is not here, and so no Debian package")
	}
	img, err := Bootable(t.Context(), t.TempDir(), OCI, Zstd, Config{})
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		header, err := tr.Next()
		if err != nil {
			t.Fatal("no busybox in the first layer: ", err)
		}
		if header.Name != "bin/busybox" {
			continue
		}
		program, err := io.ReadAll(tr)
		if err != nil || !static(program) || header.Mode != 0o755 {
			t.Errorf("busybox of %d bytes, mode %o is not a static program: %v", len(program), header.Mode, err)
		}
		return
	}
}

func TestStaticRefusesWhatIsNoProgram(t *testing.T) {
	if static([]byte("#!/bin/sh\n")) || static(nil) {
		t.Error("a script or nothing passed for a static program")
	}
}
