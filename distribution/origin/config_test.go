package origin

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateReportsEverything(t *testing.T) {
	cfg := Config{
		Retries: -1, BackoffLimit: -1, RetryAfterLimit: -1, AllowPrivate: []string{"10.0.0.0/33"},
		Registries: []Registry{
			{Name: "a/b"}, {Name: "docker.io"}, {Name: "index.docker.io"},
			{Name: "x", Mirrors: []string{"ftp://y"}, Username: "u", RateLimit: -1, RequestLimit: -1},
			{Name: "y", PasswordFile: "p"},
		},
	}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, want := range []string{
		"parallel", "max_connections", "timeout", "retries", "backoff_limit", "retry_after_limit", "allow_private",
		`"a/b"`, "docker.io is configured twice", "mirrors", "username", "password_file", "rate_limit", "request_limit",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in:\n%v", want, err)
		}
	}
}

func TestNewReadsCAFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		cfg := Default()
		cfg.Registries = []Registry{{Name: "a.example", CAFile: file}}
		if _, err := New(cfg, slog.New(slog.DiscardHandler), NewMetrics(nil)); err == nil || !strings.Contains(err.Error(), "a.example") {
			t.Errorf("%s: got %v", file, err)
		}
	}
}
