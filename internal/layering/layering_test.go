package layering

import (
	"bufio"
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/shoal-project/shoal/"

// rule says what the packages below a folder may import of the module; a folder
// stands for all below it, and an exact package is written with "=" before it.
type rule struct {
	below string
	may   []string
}

// rules are tried in order; the first that fits a package decides.
var rules = []rule{
	{"chunk/storetest", []string{"=chunk"}},
	{"chunk/persist", nil},
	{"chunk", []string{"=chunk", "=chunk/persist", "=chunk/storetest"}},
	{"layer", []string{"=chunk", "layer"}},
	{"distribution/simulation", []string{"chunk", "distribution"}},
	{"distribution", []string{"=chunk", "=chunk/memstore", "=distribution"}},
	{"registryproxy", []string{"=chunk", "=distribution"}},
	{"fuse", []string{"=chunk", "=chunk/persist", "layer", "=distribution", "fuse"}},
	{"internal", []string{"chunk", "layer", "distribution", "registryproxy", "fuse", "internal"}},
	{"cmd", []string{"chunk", "layer", "distribution", "registryproxy", "fuse", "web", "internal"}},
	{"bench", []string{"bench", "internal"}},
	{"demo", []string{"internal"}},
	{"test", []string{"internal", "test", "bench/lab"}},
}

// siblings are imports inside a layer that a rule would forbid, each with its
// reason.
var siblings = map[string]string{
	"distribution/coordinator distribution/download": "the coordinator observes the supernode's engine",
}

func (r rule) allows(imported string) bool {
	for _, folder := range r.may {
		exact, isExact := strings.CutPrefix(folder, "=")
		if imported == exact || !isExact && strings.HasPrefix(imported, folder+"/") {
			return true
		}
	}
	return false
}

func ruleOf(pkg string) (rule, bool) {
	for _, r := range rules {
		if pkg == r.below || strings.HasPrefix(pkg, r.below+"/") {
			return r, true
		}
	}
	return rule{}, false
}

// imports lists "package imported" for every import inside the module, those of
// tests left out.
func imports(t *testing.T) [][2]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-f",
		`{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pairs [][2]string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		from, to, _ := strings.Cut(lines.Text(), " ")
		to, ours := strings.CutPrefix(to, module)
		if ours {
			pairs = append(pairs, [2]string{strings.TrimPrefix(from, module), to})
		}
	}
	return pairs
}

func TestDependenciesPointDown(t *testing.T) {
	pairs := imports(t)
	if len(pairs) < 20 {
		t.Fatalf("go list found only %d imports", len(pairs))
	}
	for _, pair := range pairs {
		from, to := pair[0], pair[1]
		r, known := ruleOf(from)
		if !known {
			t.Errorf("%s belongs to no layer; give it a rule", from)
			continue
		}
		if reason := siblings[from+" "+to]; reason == "" && !r.allows(to) {
			t.Errorf("%s imports %s; packages below %s may import %q", from, to, r.below, r.may)
		}
	}
}

// lazyfs runs on every node beside the peer: it links neither libp2p nor the
// registry's client, which would cost it some 10 MiB of memory to do nothing.
func TestLazyfsLinksNothingOfTheSwarm(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"cmd/lazyfs")
	list.Env = append(os.Environ(), "GOOS=linux")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		for _, unwanted := range []string{
			"github.com/libp2p", module + "distribution/", module + "registryproxy", module + "internal/config/members",
			"github.com/google/go-containerregistry/pkg/v1/remote",
		} {
			if strings.HasPrefix(pkg, unwanted) {
				t.Errorf("cmd/lazyfs links %s", pkg)
			}
		}
	}
}

// Every package says once what it is.
func TestEveryPackageHasOneComment(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", "{{.ImportPath}}|{{.Dir}}|{{.Doc}}", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSpace(line), "|", 3)
		if len(fields) == 3 && fields[2] == "" {
			t.Errorf("%s has no package comment", fields[0])
			continue
		}
		if n := comments(t, fields[1]); n > 1 {
			t.Errorf("%s has %d package comments; one of them is probably about its file", fields[0], n)
		}
	}
}

// comments counts the files of a folder that have a package comment.
func comments(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil {
			n++
		}
	}
	return n
}

func TestRulesForbid(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"chunk", "distribution"}, {"chunk/diskstore", "internal/config"}, {"distribution/origin", "distribution/node"},
		{"distribution/download", "chunk/diskstore"}, {"registryproxy", "distribution/download"}, {"internal/config", "cmd/peer"},
	} {
		if r, ok := ruleOf(c.from); !ok || r.allows(c.to) {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
}
