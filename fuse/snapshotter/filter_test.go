//go:build linux

package snapshotter

import "testing"

var filtered = &snapshot{Name: "k8s.io/1/sha256:ab", Kind: kindCommitted, Parent: "",
	Labels: map[string]string{"a.b/c": "1,2", "plain": "x", "a.b": "dots"}}

func TestFilters(t *testing.T) {
	for text, want := range map[string]bool{
		``:                             true,
		`kind==committed`:              true,
		`kind == committed`:            true,
		`kind==active`:                 false,
		`kind!=active,plain==x`:        false,
		`kind!=active,labels.plain==x`: true,
		`name==k8s.io/1/sha256:ab`:     true,
		`name~=^k8s.io/`:               true,
		`name~=/^k8s\\.io\//`:          true,
		`name~=|sha256:[a-f]+$|`:       true,
		`parent==""`:                   true,
		`parent`:                       true,
		`labels."a.b/c"=="1,2"`:        true,
		`labels."a.b/c"`:               true,
		`labels.a.b==dots`:             true,
		`labels.none`:                  false,
		`labels.none==x`:               false,
		`labels.none!=x`:               true,
		`none`:                         false,
		`labels."pl\x61in"=="\"x"`:     false,
		`labels."pl\x61in"~=/["x]/`:    true,
		`labels.plain==x,kind==active`: false,
		"labels.plain\t==\tx , kind":   true,
	} {
		filters, err := parseFilters([]string{text})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := matchesAny(filters, filtered); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	either, err := parseFilters([]string{"kind==active", "kind==committed"})
	if err != nil || !matchesAny(either, filtered) {
		t.Errorf("either of two: %v", err)
	}
}

func TestBadFilters(t *testing.T) {
	for _, text := range []string{"=", "kind=", "kind=x", "kind==", "kind==x,", ",kind", "kind x", `labels."a`, `kind=="x`, `kind==x y`, `name~=(`, "kind.", `kind=="\q"`, "\xff"} {
		if f, err := parseFilters([]string{text}); err == nil {
			t.Errorf("%q is %+v", text, f)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`labels."a.b/c"==1,parent==""`, `name~=/a\/b/,kind!=view`, `a.b."c"`, `x~=|a|`} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if filters, err := parseFilters([]string{text}); err == nil {
			matchesAny(filters, filtered)
		}
	})
}

func FuzzHostID(f *testing.F) {
	for _, seed := range []string{"0:100000:65536", "1:2:3,0:5:1", "0:4294967295:1", ":::", "0:0:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := hostID(text, 1000); err == nil && text != "" && id == 1<<32-1 {
			t.Errorf("%q maps 1000 to %d", text, id)
		}
	})
}
