// Package clitest is what the command line scripts of the daemons (testdata/*.txtar)
// have in common, beyond testscript itself:
//
//   - $REGISTRY is a registry on loopback with the image app:1 (two layers), and
//     private/app:1 for user "u" with password "p".
//   - "ready SOCKET" waits until a daemon answers on a Unix socket.
//
// A daemon is started with "exec peer serve … &" and stopped with "kill" and
// "wait", as in any script. Each script has a directory and a registry of its own.
package clitest

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shoal-project/shoal/internal/admin"
)

// patience bounds how long a daemon may take to start on a loaded machine.
const patience = time.Minute

// Params are those of every program's scripts.
func Params(t *testing.T) testscript.Params {
	t.Helper()
	return testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"ready": ready},
	}
}

func setup(env *testscript.Env) error {
	server := httptest.NewServer(guard(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	env.Defer(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	env.Setenv("REGISTRY", host)
	env.Setenv("HOME", env.WorkDir) // no credentials of the user's own
	env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
	for _, image := range []string{"app:1", "private/app:1"} {
		if err := push(host + "/" + image); err != nil {
			return err
		}
	}
	return nil
}

func push(image string) error {
	ref, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	content, err := random.Image(300_000, 2)
	if err != nil {
		return err
	}
	return remote.Write(ref, content, remote.WithAuth(&authn.Basic{Username: "u", Password: "p"}))
}

// guard asks for a password wherever a path has "private" in it.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if (user == "u" && password == "p") || !strings.Contains(r.URL.Path, "private") && r.URL.Path != "/v2/" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`, http.StatusUnauthorized)
	})
}

// ready waits until a daemon answers.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready SOCKET")
	}
	client := admin.NewClient(ts.MkAbs(args[0]))
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err = client.Status(context.Background()); err == nil {
			return
		}
	}
	ts.Fatalf("no daemon: %v", err)
}
