package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/shoal-project/shoal/chunk"
)

func TestRefused(t *testing.T) {
	good := tarOf(t, file("a", random(1, 3000)))
	link := func(name, target string, t byte) []member {
		return []member{{Header: tar.Header{Typeflag: t, Name: name, Linkname: target}}}
	}
	named := func(name string) []member { return []member{file(name, nil)} }
	long := strings.Repeat("long/", 1000)
	for name, c := range map[string]struct {
		members []member
		want    error
	}{
		"parent":             {named("../x"), ErrHostile},
		"absolute parent":    {named("/../x"), ErrHostile},
		"deep parent":        {named("a/../../x"), ErrHostile},
		"parent alone":       {[]member{dir("..")}, ErrHostile},
		"root as file":       {named("."), ErrHostile},
		"link to parent":     {link("a", "../../etc/passwd", tar.TypeLink), ErrHostile},
		"link to root":       {link("a", "/", tar.TypeLink), ErrHostile},
		"link to aufs":       {link("a", ".wh..wh.plnk/1.2", tar.TypeLink), ErrHostile},
		"empty symlink":      {link("a", "", tar.TypeSymlink), ErrHostile},
		"whiteout of dir":    {named("a/.wh."), ErrHostile},
		"whiteout of self":   {named("a/.wh.."), ErrHostile},
		"whiteout of parent": {named("a/.wh..."), ErrHostile},
		"contiguous":         {link("a", "", tar.TypeCont), ErrHostile},
		"negative owner":     {[]member{{Header: tar.Header{Name: "a", Uid: -1, Format: tar.FormatGNU}}}, ErrHostile},
		"huge owner":         {[]member{{Header: tar.Header{Name: "a", Gid: 1<<32 - 1}}}, ErrHostile},
		"device":             {[]member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "a", Devminor: 1 << 20}}}, ErrHostile},
		"no attribute name":  {[]member{{Header: tar.Header{Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.": "x"}}}}, ErrHostile},
		"component":          {named(strings.Repeat("c", 256)), ErrLimit},
		"path":               {named(long + "x"), ErrLimit},
		"target":             {link("a", long, tar.TypeSymlink), ErrLimit},
		"attribute":          {[]member{{Header: tar.Header{Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.user.a": strings.Repeat("x", 1<<16)}}}}, ErrLimit},
		"attribute name":     {[]member{{Header: tar.Header{Name: "a", PAXRecords: map[string]string{"SCHILY.xattr." + long: "x"}}}}, ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			plain := tarOf(t, append([]member{dir("before")}, c.members...)...)
			_, _, err := buildBlob(t, plain, plain, newMemSink(), nil, DefaultLimits())
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	gz := gzipped(t, good, func(*gzip.Header) {})
	flipped := bytes.Clone(gz)
	flipped[len(gz)-6] ^= 1 // in the checksum
	zs := zstded(t, good)
	for name, c := range map[string]struct {
		blob []byte
		want error
	}{
		"not tar":           {random(9, 2000), ErrMalformed},
		"cut in header":     {good[:300], ErrMalformed},
		"cut in file":       {good[:1000], ErrMalformed},
		"cut gzip header":   {gz[:5], ErrMalformed},
		"cut gzip":          {gz[:len(gz)-20], ErrMalformed},
		"gzip checksum":     {flipped, ErrMalformed},
		"garbage after":     {slices.Concat(gz, []byte("garbage")), ErrMalformed},
		"cut zstd":          {zs[:len(zs)-20], ErrMalformed},
		"garbage after zst": {slices.Concat(zs, []byte("garbage")), ErrMalformed},
		"wide window":       {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 0, 0}, ErrLimit},
		"other layer":       {tarOf(t, file("b", nil)), ErrDiffID},
		"byte at the end":   {slices.Concat(good, []byte{0}), ErrDiffID},
		"nothing":           {nil, ErrDiffID},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := buildBlob(t, c.blob, good, newMemSink(), nil, DefaultLimits())
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	text := bytes.Repeat([]byte("a bomb repeats itself. "), 1<<18) // 6 MB
	many := make([]member, 13)
	for i := range many {
		many[i] = file("same", text)
	}
	bomb, zeros := tarOf(t, many...), tarOf(t, file("zeros", make([]byte, 70<<20)))
	for name, c := range map[string]struct {
		plain []byte
		set   func(*Limits)
		want  error
	}{
		"plain":   {bomb, func(l *Limits) { l.Plain = 20 << 20 }, ErrLimit},
		"ratio":   {bomb, func(l *Limits) {}, ErrLimit},
		"allowed": {bomb, func(l *Limits) { l.Ratio = 0 }, nil},
		"zeros":   {zeros, func(l *Limits) {}, nil},
		"entries": {bomb, func(l *Limits) { l.Ratio, l.Entries = 0, 12 }, ErrLimit},
		"name":    {bomb, func(l *Limits) { l.Name = 3 }, ErrLimit},
		"none":    {bomb, func(l *Limits) { *l = Limits{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			limits := DefaultLimits()
			c.set(&limits)
			sink := newMemSink()
			_, _, err := buildBlob(t, zstded(t, c.plain), c.plain, sink, nil, limits)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if sink.open != 0 {
				t.Errorf("%d large files left open", sink.open)
			}
		})
	}
}

// failing gives some bytes and then an error.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// An error of the blob's reader is told as it is, wherever it comes: also after
// the last byte, where a wrong digest is seen.
func TestBlobReaderFails(t *testing.T) {
	plain := tarOf(t, file("a", random(1, 3000)))
	broken := errors.New("digest mismatch")
	for name, blob := range map[string][]byte{
		"plain": plain, "cut": plain[:700], "in trailer": plain[:len(plain)-600], "nothing": nil,
		"gzip": gzipped(t, plain, func(*gzip.Header) {}), "zstd": zstded(t, plain), "cut zstd": zstded(t, plain)[:50],
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "map")
			_, err := Build(t.Context(), &failing{bytes.NewReader(blob), broken}, Descriptor{DiffID: chunk.SumBytes(plain)},
				newMemSink(), nil, DefaultLimits(), path)
			if !errors.Is(err, broken) || errors.Is(err, ErrMalformed) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("there is a map: %v", err)
			}
		})
	}
}

func TestSinkFails(t *testing.T) {
	full := errors.New("full")
	for _, size := range []int{3000, 2 << 20} {
		plain := tarOf(t, file("a", random(1, size)))
		_, _, err := buildBlob(t, plain, plain, &memSink{fail: full}, nil, DefaultLimits())
		if !errors.Is(err, full) {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
}

// endless gives zeros until its context ends.
type endless struct {
	ctx    context.Context
	cancel func()
	after  int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.after -= len(p); e.after < 0 {
		e.cancel()
	}
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	clear(p)
	return len(p), nil
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	head := tarOf(t, file("a", make([]byte, 30<<20)))[:512]
	blob := io.MultiReader(bytes.NewReader(head), &endless{ctx, cancel, 20 << 20})
	_, err := Build(ctx, blob, Descriptor{}, newMemSink(), nil, DefaultLimits(), filepath.Join(t.TempDir(), "map"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
