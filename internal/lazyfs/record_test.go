//go:build linux

package lazyfs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

func someRecord() *Record {
	return &Record{
		Version: recordVersion, ID: 7,
		Image:  &nodeapi.Image{Reference: "r/app:1", Tree: chunk.SumBytes([]byte("tree")), TreeSize: 4},
		Mounts: []Mount{{Reference: "r/app:1", Target: "/mnt"}, {Reference: "r/app:1", Target: "/rw", Scratch: "/s"}},
	}
}

func TestRecords(t *testing.T) {
	r := records{filepath.Join(t.TempDir(), "images")}
	complain := func(path string, err error) { t.Errorf("%s: %v", path, err) }
	if all, err := r.load(complain); err != nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	want := someRecord()
	if err := r.save(want); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(r.dir, "half"+tempSuffix)
	if err := os.WriteFile(half, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := r.load(complain)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	if diff := cmp.Diff(want, all[0], cmpopts.IgnoreUnexported(Record{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("a half-written record is still there: %v", err)
	}
	for range 2 {
		if err := r.remove(want.Image.Tree); err != nil {
			t.Error(err)
		}
	}
}

// A record that cannot be used is told of, and keeps nothing else from being used.
func TestRecordsRefused(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"another version": func(r *Record) { r.Version = 2 },
		"no image":        func(r *Record) { r.Image = nil },
		"another tree":    func(r *Record) { r.Image.Tree[0] ^= 1 },
		"no number":       func(r *Record) { r.ID = 0 },
		"a large number":  func(r *Record) { r.ID = 1 << 24 },
		"no size":         func(r *Record) { r.Image.TreeSize = 0 },
		"a relative path": func(r *Record) { r.Mounts[0].Target = "mnt" },
	} {
		t.Run(name, func(t *testing.T) {
			r := records{t.TempDir()}
			record := someRecord()
			path := filepath.Join(r.dir, recordName(record.Image.Tree))
			change(record)
			if err := writeJSON(path, record); err != nil {
				t.Fatal(err)
			}
			complaints := 0
			all, err := r.load(func(string, error) { complaints++ })
			if err != nil || len(all) != 0 || complaints != 1 {
				t.Errorf("%d records, %d complaints, %v", len(all), complaints, err)
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	good, err := json.Marshal(someRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"id":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Record
		if json.Unmarshal(text, &r) != nil || r.Image == nil || r.validate(recordName(r.Image.Tree)) != nil {
			return
		}
		for _, m := range r.Mounts {
			if !strings.HasPrefix(m.Target, "/") {
				t.Errorf("target %q", m.Target)
			}
		}
	})
}

func TestStatusIs(t *testing.T) {
	r := someRecord()
	r.Image.Reference = "docker.io/library/debian:12"
	s := describe(r)
	for what, want := range map[string]bool{
		"debian:12": true, "index.docker.io/library/debian:12": true, "r/app:1": true, "/mnt": true, r.Image.Tree.String(): true,
		"debian:13": false, "/": false, "": false, "Not A Reference": false,
	} {
		if s.Is(what) != want {
			t.Errorf("%q: %v", what, !want)
		}
	}
}

func TestMountRequest(t *testing.T) {
	for want, r := range map[string]MountRequest{
		"name an image": {},
		"add --rw":      {Image: "i", Scratch: "/s"},
		"absolute":      {Image: "i", Scratch: "s", Writable: true},
	} {
		if err := r.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
