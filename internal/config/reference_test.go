package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/config/members"
)

var update = flag.Bool("update", false, "write the tables of docs/OPERATIONS.md anew")

const manual = "../../docs/OPERATIONS.md"

// The manual's tables are those of the code: go test ./internal/config -update
// writes them.
func TestManualHasEverySetting(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	p, s, l := members.DefaultPeer(), members.DefaultSupernode(), config.DefaultLazyfs()
	want := string(text)
	for name, table := range map[string]string{"peer": config.Reference(&p), "supernode": config.Reference(&s), "lazyfs": config.Reference(&l)} {
		begin, end := "<!-- settings of "+name+" -->\n", "<!-- end of settings of "+name+" -->"
		head, rest, ok := strings.Cut(want, begin)
		_, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for the settings of %s", manual, name)
		}
		want = head + begin + table + end + tail
	}
	if *update {
		if err := os.WriteFile(manual, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("run go test ./internal/config -update (-code +manual)\n%s", diff)
	}
}
