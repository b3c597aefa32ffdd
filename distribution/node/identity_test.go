package node

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state", "identity.key")
	first, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	again, err := LoadIdentity(path)
	if err != nil || again.ID() != first.ID() {
		t.Errorf("second start: %s, %v; want %s", again.ID(), err, first.ID())
	}
	if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*")); len(rest) != 0 {
		t.Errorf("left behind: %v", rest)
	}
	key, err := PublicKey(first.ID())
	if err != nil || !ed25519.Verify(key, []byte("m"), ed25519.Sign(first.Key(), []byte("m"))) {
		t.Errorf("the name does not hold the key: %v", err)
	}
}

func TestConcurrentFirstStartsAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.key")
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			id, err := LoadIdentity(path)
			if err != nil {
				t.Error(err)
			}
			ids[i] = string(id.ID())
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two identities: %v", ids)
		}
	}
}

func TestUnfitKeyFilesAreRefusedAndKept(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others can read": {"", 0o640, "chmod 0600"},
		"empty":           {"", 0o600, "restore it from a backup"},
		"garbage":         {"garbage", 0o600, "restore it from a backup"},
		"other key": {"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIHAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n",
			0o600, "not an Ed25519 key"},
		"huge": {strings.Repeat("x", maxKeyFile+1), 0o600, "which no key file has"},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := LoadIdentity(t.TempDir()); err == nil {
		t.Error("a directory was taken for a key")
	}
}

func TestNetworkKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.key")
	if _, err := LoadNetworkKey(path); err == nil || !strings.Contains(err.Error(), "supernode key new") {
		t.Errorf("missing file: %v", err)
	}
	want := NewNetworkKey()
	if err := SaveNetworkKey(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := LoadNetworkKey(path)
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("read back: %v", err)
	}
	text, _ := os.ReadFile(path)
	if lines := strings.Split(string(text), "\n"); len(lines) != 4 || lines[0] != "/key/swarm/psk/1.0.0/" || lines[1] != "/base16/" {
		t.Errorf("not libp2p's form: %q", lines[:2])
	}
	if err := SaveNetworkKey(path, NewNetworkKey()); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a key was replaced: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadNetworkKey(path); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("readable by all: %v", err)
	}
	windows := strings.ReplaceAll(string(text), "\n", "\r\n")
	if got, err := ParseNetworkKey([]byte(windows)); err != nil || !cmp.Equal(got, want) {
		t.Errorf("with CR LF: %v", err)
	}
	for _, bad := range []string{"", "key", string(text[:len(text)-3]), string(text) + "00", networkKeyHeader + strings.Repeat("g", 64)} {
		if _, err := ParseNetworkKey([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestNetworkKeyIsNotShown(t *testing.T) {
	key := NewNetworkKey()
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", key)
	fmt.Fprintf(&out, "%v %s %+v", key, key, struct{ K NetworkKey }{key})
	text, err := key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	digits := strings.TrimPrefix(string(text), networkKeyHeader)[:16]
	if strings.Contains(out.String(), digits) || strings.Contains(out.String(), fmt.Sprint([]byte(key)[:4])[1:12]) {
		t.Errorf("shown: %s", out.String())
	}
}

func TestAddresses(t *testing.T) {
	id := newIdentity(t).ID()
	for _, host := range []string{"node-1.example:7401", "10.0.0.1:7401", "[fd00::1]:7401"} {
		got, err := ParseAddress(string(id) + "@" + host)
		if err != nil || got != (Address{id, host}) || got.String() != string(id)+"@"+host {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
	for _, s := range []string{"", "host:7401", "@host:7401", "id@host:7401", string(id) + "@host", string(id) + "@host:x",
		string(id) + "@host:70000", string(id) + "@h/p:1", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N@host:1"} {
		if got, err := ParseAddress(s); err == nil {
			t.Errorf("%q became %v", s, got)
		}
	}
}

func FuzzKeyFiles(f *testing.F) {
	id, err := NewIdentity()
	if err != nil {
		f.Fatal(err)
	}
	text, err := id.marshal()
	if err != nil {
		f.Fatal(err)
	}
	network, err := NewNetworkKey().MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(network)
	f.Fuzz(func(t *testing.T, p []byte) {
		if key, err := parseKey(p); err == nil && len(key) != ed25519.PrivateKeySize {
			t.Fatalf("a key of %d bytes", len(key))
		}
		if key, err := ParseNetworkKey(p); err == nil && len(key) != networkKeySize {
			t.Fatalf("a network key of %d bytes", len(key))
		}
	})
}
