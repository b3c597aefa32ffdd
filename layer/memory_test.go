package layer

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/shoal-project/shoal/chunk"
)

const (
	millionBlob   = "SHOAL_TEST_LAYER_BLOB"
	millionDiffID = "SHOAL_TEST_LAYER_DIFFID"
	million       = 1_000_000
)

// writeMillion is a tar stream of a million distinct files of 300 bytes.
func writeMillion(w io.Writer) error {
	var block [1024]byte
	for i := range million {
		clear(block[:])
		copy(block[:], fmt.Sprintf("usr/share/a-folder-of-many/%03d/a-file-of-some-name-%07d", i%1000, i))
		copy(block[100:], "0000644\x000000000\x000000000\x0000000000454\x0000000000000\x00        0")
		copy(block[257:], "ustar\x0000")
		sum := 0
		for _, c := range block[:512] {
			sum += int(c)
		}
		copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
		binary.BigEndian.PutUint64(block[512:], uint64(i)*0x9e3779b97f4a7c15)
		if _, err := w.Write(block[:]); err != nil {
			return err
		}
	}
	_, err := w.Write(make([]byte, 1024))
	return err
}

// A million entries, in zstd with the widest window that is accepted, are mapped
// by a process that never holds more than 128 MiB.
func TestMillionEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: maps a million entries; run without -short")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				t.Skip("SKIP: the race detector's own memory counts; run without -race")
			}
		}
	}
	blob, diffID := millionFile(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMillionEntriesChild$", "-test.v")
	child.Env = append(os.Environ(), millionBlob+"="+blob, millionDiffID+"="+diffID.String())
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(out)
	if peak == nil {
		t.Fatalf("the child does not tell its memory:\n%s", out)
	}
	kib, err := strconv.Atoi(string(peak[1]))
	if err != nil || kib > 128<<10 {
		t.Errorf("building took %d KiB: %v", kib, err)
	}
	t.Logf("building took %d MiB at its peak", kib>>10)
}

func millionFile(t *testing.T) (string, chunk.Digest) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zw, err := zstd.NewWriter(f, zstd.WithWindowSize(int(DefaultLimits().Window)), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(zw, sum), 1<<20)
	if err := writeMillion(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name(), chunk.Digest(sum.Sum(nil))
}

// TestMillionEntriesChild is the process that TestMillionEntries starts.
func TestMillionEntriesChild(t *testing.T) {
	path := os.Getenv(millionBlob)
	if path == "" {
		return // it is no test by itself
	}
	diffID, err := chunk.ParseDigest(os.Getenv(millionDiffID))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	limits := DefaultLimits()
	limits.Ratio = 0
	sum, err := Build(t.Context(), f, Descriptor{DiffID: diffID}, hashingSink{}, nil, limits, filepath.Join(t.TempDir(), "map"))
	if err != nil {
		t.Fatal(err)
	}
	if sum.Entries != million || sum.Encoding != "zstd" {
		t.Errorf("%+v", sum)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(regexp.MustCompile(`VmHWM:.*`).Find(status)))
}
