//go:build e2e && linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// waits tells that a read waits.
func waits(s lazyfs.ImageStatus) bool { return len(s.Waits) > 0 }

// heldReader is a program in the middle of a file that is not all here.
func heldReader(t *testing.T, file string, content []byte) *reader {
	t.Helper()
	r := startReader(t, file)
	const n = 16 << 20
	if !bytes.Equal(r.first(t, n), content[:n]) {
		t.Error("the first bytes are not right")
	}
	return r
}

func (r *reader) finish(t *testing.T, content []byte) {
	t.Helper()
	got, err := r.rest()
	if err != nil {
		t.Errorf("the rest: %d bytes, %v", len(got), err)
	}
	rightly(t, got, content, len(content)-len(got))
}

// rightly compares bytes that were read with those of the file from an offset on.
func rightly(t *testing.T, got, content []byte, from int) {
	t.Helper()
	wrong, zero, first, last := 0, 0, 0, 0
	for i := range got {
		if got[i] == content[from+i] {
			continue
		}
		if wrong++; wrong == 1 {
			first = from + i
		}
		if last = from + i; got[i] == 0 {
			zero++
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d bytes are wrong, from %d to %d; %d of them are zero", wrong, len(got), first, last, zero)
	}
}

func TestPeerKilledInMidReadAndStartedAgain(t *testing.T) {
	const size = 160 << 20 // much more than is read ahead
	s := startSite(t)
	node := s.node(t, noFill())
	img, content := bigFile(t, 3, size)
	dir := node.mount(t, s.push(t, "fault/peer:v1", img))
	r := heldReader(t, dir+"/big", content)
	node.peer.kill()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.finish(t, content)
	}()
	node.until(t, dir, "a waiting read", waits)
	node.peer.run(t)
	<-done
}

// What a node has of a chunk that is not whole is lost when its peer ends; a
// reader must not take the hole for content.
func TestPartsOfChunksOutliveThePeerOrAreMissed(t *testing.T) {
	const size, off = 32 << 20, 13 << 20
	s := startSite(t)
	node := s.node(t, noFill())
	img, content := bigFile(t, 9, size)
	dir := node.mount(t, s.push(t, "fault/parts:v1", img))
	check := func(when string) {
		t.Helper()
		forget(t)
		got, err := part(t, dir+"/big", off, 4096)
		if err != nil || !bytes.Equal(got, content[off:off+4096]) {
			t.Errorf("%s: %d bytes, %v, and not the right ones", when, len(got), err)
		}
	}
	check("at first")
	node.peer.stop(t)
	node.peer.run(t)
	check("after the peer's restart")
	node.peer.kill()
	node.peer.run(t)
	check("after the peer was killed")
}

func TestSupernodeAwayAndBack(t *testing.T) {
	const size = 160 << 20
	s := startSite(t)
	node := s.node(t, noFill())
	img, content := bigFile(t, 4, size)
	whole := imageOf(t, testimage.Gzip, testimage.OddEntries(), []testimage.Entry{testimage.File("f", 0o644, content[:3<<20])})
	other := node.mount(t, s.push(t, "fault/whole:v1", whole))
	want := listing(t, other) // reads all of it
	node.untilComplete(t, other)
	dir := node.mount(t, s.push(t, "fault/supernode:v1", img))
	r := heldReader(t, dir+"/big", content)
	s.super.kill()
	forget(t)
	same(t, "before", want, listing(t, other), treelist.Ignore{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.finish(t, content)
	}()
	node.until(t, dir, "a waiting read", waits)
	s.super.run(t)
	<-done
}

func TestReadFailsAtItsDeadline(t *testing.T) {
	s := startSite(t)
	node := s.node(t, noFill(), with("fuse.deadline", "6s"))
	img, _ := bigFile(t, 5, 64<<20)
	dir := node.mount(t, s.push(t, "fault/deadline:v1", img))
	s.super.kill()
	if err := s.registry.Stop(); err != nil {
		t.Error(err)
	}
	r := startReader(t, dir+"/big")
	status := node.until(t, dir, "a waiting read", waits)
	if w := status.Waits[0]; w.Length == 0 || w.Since.IsZero() {
		t.Errorf("what is waited for is told as %+v", w)
	}
	text := must(node.order(t, "status", dir))(t)
	if !strings.Contains(text, "waiting") || !strings.Contains(text, status.Waits[0].Object.String()) {
		t.Errorf("status does not tell what is waited for:\n%s", text)
	}
	if got, err := r.rest(); err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("%d bytes, %v; want an input/output error", len(got), err)
	}
	if status := node.image(t, dir); status.Errors == 0 || len(status.Waits) != 0 {
		t.Errorf("afterwards: %+v", status)
	}
}

func TestCompleteImageNeedsNobody(t *testing.T) {
	s := startSite(t)
	node := s.node(t)
	content := noise(6, 20<<20)
	img := imageOf(t, testimage.Zstd, []testimage.Entry{testimage.File("big", 0o644, content)}, testimage.OddEntries())
	dir := node.mount(t, s.push(t, "alone/image:v1", img))
	writable := node.mount(t, s.registry.Host()+"/alone/image:v1", "--rw")
	command(t, nil, "sh", "-c", "echo kept > "+writable+"/written")
	node.untilComplete(t, dir)
	if err := s.registry.Stop(); err != nil {
		t.Error(err)
	}
	s.super.kill()
	forget(t)
	want := listing(t, dir)
	if err := holds(want, map[treelist.Name][]byte{"big": content}); err != nil {
		t.Error(err)
	}
	node.peer.stop(t)
	forget(t)
	same(t, "before the peer's end", want, listing(t, dir), treelist.Ignore{})
	node.stop(t)
	node.run(t)
	forget(t)
	same(t, "before the restart", want, listing(t, dir), treelist.Ignore{})
	if got := command(t, nil, "cat", writable+"/written"); got != "kept\n" {
		t.Errorf("what a writable mount had changed reads %q", got)
	}
	if status := node.image(t, dir); status.State != lazyfs.StateComplete || status.Pinned {
		t.Errorf("without the peer: state %s, pinned %v", status.State, status.Pinned)
	}
	again := node.mount(t, s.registry.Host()+"/alone/image:v1") // it is mounted already: no need to ask
	same(t, "the first mount", want, listing(t, again), treelist.Ignore{})
	node.unmount(t, again)
	node.unmount(t, writable)
}

// ofFile is a descriptor of a file's object, for corrupt.
func ofFile(content []byte) v1.Descriptor {
	sum := sha256.Sum256(content)
	return v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, Size: int64(len(content))}
}

func TestCorruptedStoresNeverGiveAWrongByte(t *testing.T) {
	s := startSite(t)
	img, content := bigFile(t, 7, 32<<20)
	name := s.push(t, "corrupt/image:v1", img)
	first := s.node(t, noFill())
	dir := first.mount(t, name)
	corrupt(t, s.super.dir+"/data", ofFile(content), 13<<20)
	t.Run("the supernode's", func(t *testing.T) {
		// The reader waits while the supernode derives again what it lost.
		got, err := startReader(t, dir+"/big").rest()
		rightly(t, got, content, 0)
		if err != nil || len(got) != len(content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("another node's", func(t *testing.T) {
		holder := s.node(t)
		holder.untilComplete(t, holder.mount(t, name))
		corrupt(t, holder.peer.dir+"/data", ofFile(content), 21<<20)
		got, err := startReader(t, s.node(t).mount(t, name)+"/big").rest()
		rightly(t, got, content, 0)
		if err != nil || len(got) < len(content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("its own, verified", func(t *testing.T) {
		node := s.node(t)
		dir := node.mount(t, name)
		node.untilComplete(t, dir)
		if out, err := node.order(t, "verify", dir); err != nil {
			t.Errorf("%s%v", out, err)
		}
		corrupt(t, node.peer.dir+"/data", ofFile(content), 29<<20)
		if out, err := node.order(t, "verify", dir); err == nil || !strings.Contains(err.Error(), "chunk 7 of 8") {
			t.Errorf("verify says %s%v", out, err)
		}
	})
}
