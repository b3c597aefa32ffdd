package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/config/members"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	p, s, l := members.DefaultPeer(), members.DefaultSupernode(), config.DefaultLazyfs()
	if err := l.Validate(); err != nil {
		t.Errorf("lazyfs: %v", err)
	}
	if err := p.Validate(); err != nil {
		t.Errorf("peer: %v", err)
	}
	if err := s.Validate(); err != nil {
		t.Errorf("supernode: %v", err)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	file := write(t, "log: {level: warn, format: json}\nshutdown: {grace: 1m}\nmemory: {limit: 1.5GiB}\n"+
		"origin: {registries: [{name: 'quay.io', rate_limit: 10MiB}]}\n")
	p := members.DefaultPeer()
	warnings, err := config.Load(&p, config.Sources{
		File:    file,
		Environ: []string{"SHOAL_LOG_LEVEL=error", "SHOAL_SHUTDOWN__GRACE=2s", "SHOAL_ORIGIN_ALLOW_PRIVATE=10.0.0.0/8, reg:5000", "HOME=/"},
		Set:     []string{"shutdown.grace=3s"},
	})
	if err != nil || len(warnings) != 0 {
		t.Fatalf("Load: %v, warnings %q", err, warnings)
	}
	want := members.DefaultPeer()
	want.Log = config.Log{Level: "error", Format: "json"}
	want.Shutdown.Grace = 3 * time.Second
	want.Memory.Limit = 3 << 29
	want.Origin.AllowPrivate = []string{"10.0.0.0/8", "reg:5000"}
	want.Origin.Registries = append(want.Origin.Registries, p.Origin.Registries...)
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(p.Origin.Registries) != 1 || p.Origin.Registries[0].RateLimit != 10<<20 || p.Origin.Registries[0].Name != "quay.io" {
		t.Errorf("registries: %+v", p.Origin.Registries)
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		set  []string
		want []string
	}{
		"unknown keys": {
			file: "log: {levle: warn}\nadmin:\n  listn: x\nnonsense: 1\n",
			want: []string{"log.levle: there is no such key; is log.level meant?", "admin.listn: there is no such key; is admin.listen meant?", "nonsense: there is no such key"},
		},
		"wrong forms": {
			file: "shutdown: {grace: 10}\nmemory: {limit: lots}\n",
			want: []string{`shutdown.grace: "10" is not a duration`, `memory.limit: "lots" is not a size`},
		},
		"no sense": {
			file: "log: {level: loud}\nadmin: {listen: nowhere, socket: run/x}\ndata_dir: here\n",
			want: []string{`log.level: "loud" is not one of`, `admin.listen: "nowhere" is not an address`, `admin.socket: "run/x" is not an absolute path`, `data_dir: "here" is not an absolute path`},
		},
		"not YAML":           {file: "log: [\n", want: []string{"peer.yaml", "yaml"}},
		"unknown key by set": {set: []string{"store.kwota=1"}, want: []string{"store.kwota: there is no such key"}},
		"not a pair":         {set: []string{"store.quota"}, want: []string{"is not key=value"}},
		"no network key":     {set: []string{"network_key=/nonexistent/key"}, want: []string{"network_key: ", "supernode key new"}},
		"supernode without identity": {
			set:  []string{"supernode.address=10.0.0.1:7401"},
			want: []string{"supernode.address: ", "`supernode id` prints it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := members.DefaultPeer()
			_, err := config.Load(&p, config.Sources{File: write(t, c.file), Set: c.set})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in:\n%v", part, err)
				}
			}
		})
	}
}

func TestFile(t *testing.T) {
	p := members.DefaultPeer()
	absent := filepath.Join(t.TempDir(), "absent.yaml")
	if _, err := config.Load(&p, config.Sources{File: absent}); err != nil {
		t.Errorf("an absent default file: %v", err)
	}
	if _, err := config.Load(&p, config.Sources{File: absent, Required: true}); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("an absent named file: %v", err)
	}
}

func TestUnknownVariablesAreWarnedOf(t *testing.T) {
	p := members.DefaultPeer()
	warnings, err := config.Load(&p, config.Sources{Environ: []string{"SHOAL_SERVICE_HOST=10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "SHOAL_SERVICE_HOST") {
		t.Errorf("warnings: %q", warnings)
	}
}

// What config print writes must mean the same when it is read.
func TestPrintedSettingsReadBack(t *testing.T) {
	want := members.DefaultPeer()
	if _, err := config.Load(&want, config.Sources{File: write(t, `
shutdown: {grace: 30m}
origin: {allow_private: [10.0.0.0/8], registries: [{name: quay.io, mirrors: ["http://m"], rate_limit: 1000, plain_http: false}]}
`)}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := config.Print(&text, &want); err != nil {
		t.Fatal(err)
	}
	var got members.Peer // everything printed must be enough
	got.Download.Parallel = want.Download.Parallel
	if _, err := config.Load(&got, config.Sources{File: write(t, text.String())}); err != nil {
		t.Fatalf("%v in:\n%s", err, text.String())
	}
	if diff := cmp.Diff(want.Origin.Registries, got.Origin.Registries); diff != "" {
		t.Errorf("registries (-want +got)\n%s", diff)
	}
	if want.Shutdown != got.Shutdown || want.Admin != got.Admin || want.Download != got.Download || want.Exchange != got.Exchange {
		t.Errorf("want %+v\n got %+v", want, got)
	}
	if !strings.Contains(text.String(), "# "+config.Meanings["shutdown.grace"][:40]) {
		t.Errorf("meanings are missing in:\n%s", text.String())
	}
}

func TestEveryKeyHasAMeaning(t *testing.T) {
	known := map[string]bool{}
	p, s, l := members.DefaultPeer(), members.DefaultSupernode(), config.DefaultLazyfs()
	for _, k := range slices.Concat(config.Keys(&p), config.Keys(&s), config.Keys(&l)) {
		known[k.Path] = true
		if config.Meanings[k.Path] == "" {
			t.Errorf("%s has no meaning in Meanings", k.Path)
		}
		for _, word := range []string{"password", "token", "secret"} {
			if last := k.Path[strings.LastIndexByte(k.Path, '.')+1:]; last == word {
				t.Errorf("%s: a secret in the settings would be printed; take the name of a file", k.Path)
			}
		}
	}
	for path := range config.Meanings {
		if !known[path] {
			t.Errorf("%s has a meaning but does not exist", path)
		}
	}
}
