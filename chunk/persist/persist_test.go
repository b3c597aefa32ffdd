package persist

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, temporary := range []string{path + ".tmp", filepath.Join(dir, "new-*")} {
		for _, text := range []string{"a longer one", "short", ""} {
			if err := Replace(path, temporary, []byte(text)); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != text {
				t.Errorf("%q, not %q (%v)", got, text, err)
			}
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v (%v)", entries, err)
	}
}

// What cannot be replaced stays as it is, and nothing is left beside it.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "directory")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, path+".tmp", []byte("x")); err == nil {
		t.Error("a file took the place of a directory")
	}
	if err := Replace(filepath.Join(dir, "none", "file"), filepath.Join(dir, "none", "new-*"), nil); err == nil {
		t.Error("a file was made in no directory")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v (%v)", entries, err)
	}
}
