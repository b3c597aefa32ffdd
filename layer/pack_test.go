package layer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// smallFiles are n files of about 3 to 9 KiB.
func smallFiles(seed byte, n int) []member {
	members := make([]member, n)
	for i := range members {
		data := random(seed, 3000+i*997%6000)
		binary.BigEndian.PutUint64(data, uint64(i))
		members[i] = file(fmt.Sprintf("dir/%d-%05d", seed, i), data)
	}
	return members
}

func checkContent(t *testing.T, m *Map, sink *memSink, members []member) {
	t.Helper()
	entries := allEntries(t, m)
	if len(entries) != len(members) {
		t.Fatalf("%d entries of %d", len(entries), len(members))
	}
	for i := range entries {
		if !bytes.Equal(bytesOf(t, m, sink, &entries[i]), members[i].data) {
			t.Fatalf("%q has other bytes", entries[i].Path)
		}
	}
}

func packs(m *Map) map[chunk.Digest]int64 {
	sizes := map[chunk.Digest]int64{}
	for _, o := range m.Objects() {
		if o.Pack {
			sizes[o.Digest] = o.Size
		}
	}
	return sizes
}

// A layer that was built again with some files changed keeps most of its packs.
func TestPacksSurviveAChange(t *testing.T) {
	members := smallFiles(1, 5000)
	sink := newMemSink()
	before, sum := mustBuild(t, tarOf(t, members...), sink, nil)
	checkContent(t, before, sink, members)
	for d, size := range packs(before) {
		if size > PackMax || size%PackAlign != 0 {
			t.Errorf("pack %s has %d bytes", d, size)
		}
	}
	if sum.Packs < 8 || sum.Packs > 25 || sum.Packs != len(before.Objects()) {
		t.Fatalf("%d packs for %d bytes", sum.Packs, sum.Files)
	}
	changed := slices.Clone(members)
	changed[2000] = file(changed[2000].Name, random(9, 8000))
	changed = slices.Insert(changed, 3500, file("dir/new", random(10, 5000)))
	after, _ := mustBuild(t, tarOf(t, changed...), sink, nil)
	checkContent(t, after, sink, changed)
	kept, now := 0, packs(after)
	for d := range packs(before) {
		if _, ok := now[d]; ok {
			kept++
		}
	}
	if kept < sum.Packs-6 {
		t.Errorf("%d of %d packs survived two changes", kept, sum.Packs)
	}
}

func TestSameLayerSameMap(t *testing.T) {
	plain := tarOf(t, smallFiles(1, 1500)...)
	first, _ := mustBuild(t, plain, newMemSink(), nil)
	second, _, err := buildBlob(t, zstded(t, plain), plain, newMemSink(), nil, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.data, second.data) {
		t.Error("one layer gave two maps")
	}
}

func TestDuplicatesArePackedOnce(t *testing.T) {
	members := append(smallFiles(1, 300), smallFiles(1, 300)...)
	sink := newMemSink()
	m, sum := mustBuild(t, tarOf(t, members...), sink, nil)
	_, once := mustBuild(t, tarOf(t, members[:300]...), newMemSink(), nil)
	checkContent(t, m, sink, members)
	if sum.Content != once.Content {
		t.Errorf("%d bytes of content, of which %d would do", sum.Content, once.Content)
	}
}

// Files of earlier layers are not packed again, but a pack of which little is used
// is left, and the files are read back from it.
func TestKnownFiles(t *testing.T) {
	sink := newMemSink()
	known := newMemKnown(sink)
	earlier := smallFiles(1, 3000)
	base, _ := mustBuild(t, tarOf(t, earlier...), sink, nil)
	known.learn(t, base)

	next := slices.Concat(smallFiles(2, 100), earlier[:1500], earlier[1400:1410])
	m, sum := mustBuild(t, tarOf(t, next...), sink, known)
	checkContent(t, m, sink, next)
	if sum.Reused < 1000 || sum.Reused+sum.Repacked != 1500 || sum.Repacked != known.reads {
		t.Errorf("%+v, %d reads", sum, known.reads)
	}
	for _, o := range m.Objects() {
		used := int64(0)
		for i, e := range allEntries(t, m)[:1600] {
			if e.Object >= 0 && m.Objects()[e.Object] == o && i >= 100 {
				used += padded(e.Size, PackAlign)
			}
		}
		if _, old := packs(base)[o.Digest]; old && 2*used < o.Size {
			t.Errorf("%d bytes of a pack of %d are used", used, o.Size)
		}
	}

	few := []member{earlier[0], earlier[1500], earlier[2999]}
	m, sum = mustBuild(t, tarOf(t, few...), sink, known)
	checkContent(t, m, sink, few)
	if sum.Repacked != 3 || sum.Packs != 1 || len(m.Objects()) != 1 {
		t.Errorf("%+v", sum)
	}
}

// lying is a memory whose answers cannot be.
type lying struct {
	place Place
	err   error
}

func (l lying) Find(file chunk.Digest) (Place, bool) {
	if l.place.File.IsZero() {
		l.place.File = file
	}
	return l.place, true
}

func (l lying) Read(Place, []byte) error { return l.err }

func TestKnownIsChecked(t *testing.T) {
	members := smallFiles(1, 3)
	plain := tarOf(t, members...)
	for _, p := range []Place{{}, {Size: 1 << 20, Offset: 100}, {Size: 1 << 30}, {Size: 1000}, {Size: 1 << 20, Offset: -512}, {Size: 1 << 20, File: chunk.Digest{1}}} {
		sink := newMemSink()
		m, sum := mustBuild(t, plain, sink, lying{place: p})
		checkContent(t, m, sink, members)
		if sum.Reused != 0 || sum.Repacked != 0 {
			t.Errorf("%+v was believed", p)
		}
	}
	gone := errors.New("gone")
	if _, _, err := buildBlob(t, plain, plain, newMemSink(), lying{Place{Size: 4 << 20}, gone}, DefaultLimits()); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if _, _, err := buildBlob(t, plain, plain, newMemSink(), lying{Place{Size: 4 << 20}, nil}, DefaultLimits()); !errors.Is(err, chunk.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestFileTable(t *testing.T) {
	table := newFileTable()
	const n = 3*slabFiles + 7
	key := func(i int) chunk.Digest { return chunk.SumBytes(binary.BigEndian.AppendUint32(nil, uint32(i))) }
	for i := range n {
		if _, ok := table.find(key(i)); ok {
			t.Fatalf("found %d before it was added", i)
		}
		if got, err := table.add(key(i), place{uint32(i), uint32(2 * i), uint32(3 * i)}); err != nil || got != i {
			t.Fatalf("added %d as %d: %v", i, got, err)
		}
	}
	table.setPlace(5, place{1, 2, 3})
	for i := range n {
		want := place{uint32(i), uint32(2 * i), uint32(3 * i)}
		if i == 5 {
			want = place{1, 2, 3}
		}
		if got, ok := table.find(key(i)); !ok || got != i || table.place(i) != want || table.digest(i) != key(i) {
			t.Fatalf("file %d is %d at %+v", i, got, table.place(i))
		}
	}
	if err := table.close(); err != nil {
		t.Error(err)
	}
}
