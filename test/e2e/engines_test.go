//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/testimage"
)

// inside is what a container checks of its own file system: hard links, both
// kinds of whiteout, modes.
const inside = `set -e
[ "$(busybox cat /odd/third)" = "one content, three names" ]
[ ! -e /etc/removed ] && [ ! -e /gone/below ] && [ -e /gone/above ]
[ -u /odd/setuid ] && [ -p /odd/fifo ] && [ -h /odd/dangling ]
echo it runs`

// catalogue is every kind of image that engines are asked to pull.
type catalogue struct {
	boot  map[string]v1.Image // by tag; repository library/boot
	multi v1.ImageIndex       // library/multi:v1
	many  v1.Image            // library/many:v1
	tiny  v1.Image            // library/tiny:v1: blobs of 0 and 1 byte
}

func newCatalogue(t *testing.T, o origins) catalogue {
	t.Helper()
	c := catalogue{boot: map[string]v1.Image{
		"gzip":    bootable(t, testimage.OCI, testimage.Gzip, "gzip"),
		"zstd":    bootable(t, testimage.OCI, testimage.Zstd, "zstd"),
		"plain":   bootable(t, testimage.OCI, testimage.Plain, "plain"),
		"schema2": bootable(t, testimage.Docker, testimage.Gzip, "schema2"),
	}}
	for tag, img := range c.boot {
		o.push(t, "library/boot:"+tag, img)
	}
	other := must(testimage.Assemble(testimage.OCI, testimage.Config{Architecture: "s390x"},
		must(testimage.NewLayer(testimage.Gzip, testimage.Tar(testimage.OddEntries()...)))(t)))(t)
	c.multi = must(testimage.Index(testimage.OCI, c.boot["gzip"], other))(t)
	o.push(t, "library/multi:v1", c.multi)
	c.many = must(testimage.Layered(1, 60, testimage.Gzip))(t)
	o.push(t, "library/many:v1", c.many)
	c.tiny = must(testimage.Assemble(testimage.OCI, testimage.Config{},
		must(testimage.RandomBlob(1, 0))(t), must(testimage.RandomBlob(1, 1))(t)))(t)
	o.push(t, "library/tiny:v1", c.tiny)
	return c
}

func TestEngines(t *testing.T) {
	o := startOrigins(t)
	c := newCatalogue(t, o)
	mark := must(o.public.Mark(t.Context()))(t)
	mirror := startPeer(t, loopback(), nil, o.reach()).registry
	t.Run("docker", func(t *testing.T) { testDocker(t, startDocker(t, mirror), prefixed(mirror, o), c) })
	t.Run("containerd", func(t *testing.T) {
		testContainerd(t, startContainerd(t, cri.Containerd{}, mirror, o.public.Host(), o.private.Host()), o, c)
	})
	t.Run("podman", func(t *testing.T) { testPodman(t, newPodman(t, prefixed(mirror, o)), prefixed(mirror, o), c) })
	t.Run("skopeo", func(t *testing.T) { testSkopeo(t, prefixed(mirror, o), c) })
	// Whatever the engines asked for, in whatever way, came from there once.
	for digest, sent := range must(o.public.Log(t.Context(), mark))(t).BlobBytes() {
		if size := c.size(t, digest); sent != size {
			t.Errorf("the engines together made the peer fetch %d bytes of %s, which has %d", sent, digest, size)
		}
	}
}

// prefixed is where the public registry lies in the peer's names.
func prefixed(mirror string, o origins) string { return mirror + "/" + escaped(o.public.Host()) }

// size is a blob's, wherever in the catalogue it is.
func (c catalogue) size(t *testing.T, digest string) int64 {
	t.Helper()
	all := append(append(items(t, c.multi), items(t, c.many)...), items(t, c.tiny)...)
	for _, img := range c.boot {
		all = append(all, items(t, img)...)
	}
	for _, item := range all {
		if item.Digest.String() == digest {
			return item.Size
		}
	}
	t.Fatalf("%s is in no image", digest)
	return 0
}

func diffIDs(t testing.TB, img v1.Image) []string {
	t.Helper()
	file := must(img.ConfigFile())(t)
	ids := make([]string, len(file.RootFS.DiffIDs))
	for i, id := range file.RootFS.DiffIDs {
		ids[i] = id.String()
	}
	return ids
}

// checkInspect compares what an engine says of an image with its source. The
// engines verify layers against the diffIDs as they unpack.
func checkInspect(t *testing.T, got dockerImage, img v1.Image, named string) {
	t.Helper()
	config := must(img.ConfigName())(t)
	if strings.TrimPrefix(got.ID, "sha256:") != config.Hex {
		t.Errorf("the image's ID is %s, want %s", got.ID, config)
	}
	if !slices.ContainsFunc(got.RepoDigests, func(d string) bool { return strings.HasSuffix(d, "@"+named) }) {
		t.Errorf("its digests are %v, want one @%s", got.RepoDigests, named)
	}
	if !slices.Equal(got.RootFS.Layers, diffIDs(t, img)) {
		t.Errorf("its layers are %v, want %v", got.RootFS.Layers, diffIDs(t, img))
	}
}

func testDocker(t *testing.T, d *docker, prefix string, c catalogue) {
	check := func(ref string, img v1.Image, named string) {
		t.Helper()
		d.run(t, "pull", "-q", ref)
		checkInspect(t, parseInspect(t, d.run(t, "image", "inspect", ref)), img, named)
	}
	// docker 20.10 has no zstd.
	for _, tag := range []string{"gzip", "plain", "schema2"} {
		check("docker.io/library/boot:"+tag, c.boot[tag], digestOf(t, c.boot[tag]))
	}
	check("docker.io/library/many:v1", c.many, digestOf(t, c.many))
	check("docker.io/library/multi:v1", c.boot["gzip"], digestOf(t, c.multi))
	long := prefix + "/library/boot:schema2"
	check(long, c.boot["schema2"], digestOf(t, c.boot["schema2"]))
	for _, ref := range []string{"docker.io/library/boot:gzip", long} {
		if out := d.run(t, "run", "--rm", "--network", "none", ref, "sh", "-c", inside); out != "it runs\n" {
			t.Errorf("%s says %q", ref, out)
		}
	}
	_, err := try(t, d.env, "docker", "pull", "-q", prefix+"/library/boot:no-such-tag")
	if err == nil || !strings.Contains(err.Error(), "not found") && !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a tag that does not exist: %v", err)
	}
}

func testContainerd(t *testing.T, d *containerd, o origins, c catalogue) {
	check := func(ref string, top remote.Taggable, img v1.Image, flags ...string) {
		t.Helper()
		d.ctr(t, append(append([]string{"images", "pull", "--hosts-dir", d.config.Hosts()}, flags...), ref)...)
		want := items(t, img)
		if index, ok := top.(v1.ImageIndex); ok {
			want = append(want, items(t, index)[0])
		}
		for _, item := range want {
			content := d.ctr(t, "content", "get", item.Digest.String())
			if got := must3(v1.SHA256(strings.NewReader(content)))(t); got != item.Digest {
				t.Errorf("%s: %s is stored as %s", ref, item.Digest, got)
			}
		}
	}
	for tag, img := range c.boot {
		check(o.public.Host()+"/library/boot:"+tag, img, img)
	}
	check(o.public.Host()+"/library/multi:v1", c.multi, c.boot["gzip"])
	check(o.public.Host()+"/library/many:v1", c.many, c.many)
	check(o.private.Host()+"/library/boot:zstd", c.boot["zstd"], c.boot["zstd"], "--user", userName+":"+password)
	for i, tag := range []string{"zstd", "plain"} {
		ref := o.public.Host() + "/library/boot:" + tag
		if out := d.ctr(t, "run", "--rm", ref, fmt.Sprintf("c%d", i), "sh", "-c", inside); out != "it runs\n" {
			t.Errorf("%s says %q", ref, out)
		}
	}
	if _, err := d.tryCtr(t, "images", "pull", "--hosts-dir", d.config.Hosts(), "--user", userName+":wrong", o.private.Host()+"/library/boot:gzip"); err == nil {
		t.Error("a wrong password was accepted")
	}
	for tag, img := range c.boot {
		id, err := d.pods.Pull(t.Context(), o.public.Host()+"/library/boot:"+tag)
		if err != nil {
			t.Error(err)
		} else if want := must(img.ConfigName())(t).String(); id != want {
			t.Errorf("CRI pulled %s, want %s", id, want)
		}
	}
	if _, err := d.pods.Pull(t.Context(), o.public.Host()+"/library/none:v1"); err == nil {
		t.Error("CRI pulled an image that does not exist")
	}
}

// must3 is must for functions with a result in the middle that is not wanted.
func must3[T, U any](value T, _ U, err error) func(testing.TB) T { return must(value, err) }

func testPodman(t *testing.T, p *podman, prefix string, c catalogue) {
	check := func(ref string, img v1.Image, named string) {
		t.Helper()
		p.run(t, "pull", "-q", "--tls-verify=false", ref)
		checkInspect(t, parseInspect(t, p.run(t, "image", "inspect", ref)), img, named)
	}
	for tag, img := range c.boot {
		check(mirroredName+"/library/boot:"+tag, img, digestOf(t, img))
	}
	check(prefix+"/library/multi:v1", c.boot["gzip"], digestOf(t, c.multi))
	out := p.run(t, "run", "--rm", "--network", "none", "--cgroup-parent", "/"+groupName(),
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", mirroredName+"/library/boot:zstd", "sh", "-c", inside)
	if out != "it runs\n" {
		t.Errorf("the container says %q", out)
	}
}

func testSkopeo(t *testing.T, prefix string, c catalogue) {
	contents := map[string]v1.Image{"many:v1": c.many, "tiny:v1": c.tiny}
	for tag, img := range c.boot {
		contents["boot:"+tag] = img
	}
	for name, content := range contents {
		dir := filepath.Join(directory(t), "copy")
		source := "docker://" + prefix + "/library/" + name
		command(t, nil, "skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false", source, "dir:"+dir)
		checkDirectory(t, name, dir, content)
	}
	// The directory form cannot hold an index; an OCI layout can. Skopeo 1.9
	// writes the index itself anew, so that is not compared.
	dir := filepath.Join(directory(t), "layout")
	command(t, nil, "skopeo", "copy", "-q", "--all", "--src-tls-verify=false",
		"docker://"+prefix+"/library/multi:v1", "oci:"+dir+":v1")
	for _, item := range items(t, c.multi)[1:] {
		checkFile(t, "multi as a layout", filepath.Join(dir, "blobs", "sha256", item.Digest.Hex), item)
	}
}

// checkDirectory compares skopeo's dir: form digest by digest.
func checkDirectory(t *testing.T, name, dir string, img v1.Image) {
	t.Helper()
	for _, item := range items(t, img) {
		file := filepath.Join(dir, item.Digest.Hex)
		if item.Manifest {
			file = filepath.Join(dir, "manifest.json")
		}
		checkFile(t, name, file, item)
	}
}

func checkFile(t *testing.T, name, file string, item testimage.Item) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got := must3(v1.SHA256(bytes.NewReader(text)))(t); got != item.Digest || int64(len(text)) != item.Size {
		t.Errorf("%s: %s of %d bytes arrived as %s of %d", name, item.Digest, item.Size, got, len(text))
	}
}
