//go:build e2e && linux

package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-project/shoal/internal/testimage"
)

// claimed is a blob that is said to have a diffID.
type claimed struct {
	v1.Layer
	blob   []byte
	diffID v1.Hash
}

func (c claimed) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(c.blob))
	return h, err
}
func (c claimed) DiffID() (v1.Hash, error) { return c.diffID, nil }
func (c claimed) Size() (int64, error)     { return int64(len(c.blob)), nil }
func (c claimed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c.blob)), nil
}
func (c claimed) Uncompressed() (io.ReadCloser, error) { return c.Compressed() }

// Hostile layers: the image is refused with the reason, and can be pulled.
func TestHostileLayersAreRefusedAndPulled(t *testing.T) {
	s := startSite(t, with("remote.max_plain", "48MiB"), with("remote.max_entries", 500), with("remote.max_ratio", 20))
	node := s.node(t)
	good := must(testimage.NewLayer(testimage.Gzip, testimage.Tar(testimage.File("f", 0o644, noise(1, 3<<20)))))(t)
	blob := must(io.ReadAll(must(good.Compressed())(t)))(t)
	diffID := must(good.DiffID())(t)
	flipped := bytes.Clone(blob)
	flipped[len(flipped)/2] ^= 4
	var many []testimage.Entry
	for i := range 600 {
		many = append(many, testimage.File(fmt.Sprint(i), 0o644, nil))
	}
	of := func(entries ...testimage.Entry) v1.Layer {
		return must(testimage.NewLayer(testimage.Gzip, testimage.Tar(entries...)))(t)
	}
	for i, c := range []struct {
		what   string
		layer  v1.Layer
		reason []string // one of them is told
	}{
		{"bomb of zeros", of(testimage.File("zeros", 0o644, make([]byte, 64<<20))), []string{"exceeds a limit"}},
		{"bomb of a bomb", bombOfBomb(t), []string{"exceeds a limit", "malformed", "does not match its diffID"}},
		{"too many entries", of(many...), []string{"exceeds a limit"}},
		{"name that leaves the root", of(testimage.File("a/../../etc/f", 0o644, nil)), []string{"leaves the root"}},
		{"target that leaves the root", of(testimage.HardLink("h", "../../etc/passwd")), []string{"leaves the root"}},
		{"truncated", claimed{good, blob[:len(blob)*2/3], diffID}, []string{"malformed"}},
		{"bit-flipped", claimed{good, flipped, diffID}, []string{"malformed", "does not match its diffID"}},
		{"wrong diffID", claimed{good, blob, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}}, []string{"does not match its diffID"}},
		{"no tar", claimed{good, noise(3, 100_000), diffID}, []string{"malformed"}},
		{"nothing", claimed{good, nil, diffID}, []string{"malformed", "does not match its diffID"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			img := must(testimage.Assemble(testimage.OCI, testimage.Config{}, c.layer))(t)
			name := s.push(t, fmt.Sprintf("hostile/image:%d", i), img)
			_, err := node.tryMount(t, name)
			told := false
			for _, reason := range c.reason {
				told = told || err != nil && strings.Contains(err.Error(), reason)
			}
			if !told {
				t.Errorf("mounting says %v; want one of %q", err, c.reason)
			}
			if layer := must(img.Layers())(t)[0]; err != nil && !strings.Contains(err.Error(), digestOf(t, layer)) {
				t.Errorf("the layer is not named: %v", err)
			}
			pulls(t, node.peer, s.registry.Host(), fmt.Sprintf("hostile/image:%d", i), img)
		})
	}
	boot := s.push(t, "boot/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "after"))
	if out := command(t, nil, "chroot", node.mount(t, boot), "/bin/busybox", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("after all that a good image says %q", out)
	}
}

// bombOfBomb is a gzip stream of little that becomes much, whose content is one.
func bombOfBomb(t *testing.T) v1.Layer {
	t.Helper()
	var once, twice bytes.Buffer
	for i, from := range []io.Reader{io.LimitReader(endless{}, 1<<30), &once} {
		to := []*bytes.Buffer{&once, &twice}[i]
		w := must(gzip.NewWriterLevel(to, gzip.BestSpeed))(t)
		if _, err := io.Copy(w, from); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	id := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("cd", 32)}
	return claimed{Layer: must(testimage.RandomBlob(1, 1))(t), blob: twice.Bytes(), diffID: id}
}

func (c claimed) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// pulls checks that the ordinary ways of pulling an image work.
func pulls(t *testing.T, p *peer, registry, name string, img v1.Image) {
	t.Helper()
	command(t, nil, program("peer"), "--config", p.file(), "pull", "-q", registry+"/"+name)
	dir := directory(t) + "/copy"
	command(t, nil, "skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false",
		"docker://"+p.registry+"/"+escaped(registry)+"/"+name, "dir:"+dir)
	checkDirectory(t, name, dir, img)
}

// A registry that sends other bytes than it says: nothing is mounted of them, and
// all is well when it does no more.
func TestLazyImageOfALyingOrigin(t *testing.T) {
	var lying onOff
	g := startGated(t, 0, lying.handler)
	content := noise(4, 6<<20)
	img := imageOf(t, testimage.Gzip, []testimage.Entry{testimage.File("f", 0o644, content)})
	g.push(t, "lie/image:v1", img)
	g.Open()
	super := startSupernode(t, loopback(), "supernode", g.reach())
	node := startLazy(t, startPeer(t, loopback(), super, g.reach()))
	lying.Store(true)
	if _, err := node.tryMount(t, g.host()+"/lie/image:v1"); err == nil {
		t.Error("what no digest bears out was mounted")
	}
	lying.Store(false)
	dir := node.mount(t, g.host()+"/lie/image:v1")
	got, err := startReader(t, dir+"/f").rest()
	rightly(t, got, content, 0)
	if err != nil || len(got) != len(content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// onOff is a lie that can be ended.
type onOff struct{ atomic.Bool }

func (o *onOff) handler(next http.Handler) http.Handler {
	return tamper(&o.Bool, func(b *tamperedBody) { b.flip = true })(next)
}
