//go:build linux

package layerstore

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

func TestRecordsThatCannotBeUsed(t *testing.T) {
	n := name{reference, chunk.SumBytes(nil)}
	file := n.id() + recordSuffix
	good := record{Version: recordVersion, Name: n, Layer: &Layer{Reference: reference}}
	for what, change := range map[string]func(*record){
		"version": func(r *record) { r.Version = 9 }, "name": func(r *record) { r.Name.Reference = "other" },
		"no layer": func(r *record) { r.Layer = nil }, "uses": func(r *record) { r.Uses = -1 },
		"storage": func(r *record) { r.Storages = []string{"../etc"} }, "plain": func(r *record) { r.Plain = -1 },
	} {
		bad := good
		change(&bad)
		text, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRecord(text, file); err == nil {
			t.Errorf("%s: %s is taken", what, text)
		}
	}
	text, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseRecord(text, file); err != nil {
		t.Error(err)
	}
}

func FuzzRecord(f *testing.F) {
	n := name{reference, chunk.SumBytes(nil)}
	text, err := json.Marshal(record{Version: recordVersion, Name: n, Layer: &Layer{Reference: reference}, Uses: 3, Storages: []string{"/a"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text, n.id()+recordSuffix)
		if err == nil && (r.Layer == nil || r.Uses < 0 || r.Name != n) {
			t.Errorf("%+v is taken", r)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(reference))
	f.Add("=")
	f.Fuzz(func(t *testing.T, text string) {
		if reference, ok := decode(text); ok && (encode(reference) != text || reference == "" || strings.ContainsAny(reference, " \n\x00")) {
			t.Errorf("%q is read as %q", text, reference)
		}
	})
}
