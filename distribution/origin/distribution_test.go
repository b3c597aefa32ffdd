package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// startRegistry runs the reference registry with htpasswd, and gives its
// address.
func startRegistry(t *testing.T) string {
	t.Helper()
	for _, bin := range []string{"docker-registry", "htpasswd"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skipf("SKIP: %s is not installed", bin)
		}
	}
	dir := t.TempDir()
	passwords, err := exec.Command("htpasswd", "-Bbn", "user", "secret").Output()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	config := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]s/data}}
http: {addr: %[2]s, secret: test}
auth: {htpasswd: {realm: test, path: %[1]s/htpasswd}}
`, dir, addr)
	for name, data := range map[string][]byte{"htpasswd": passwords, "config.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 100 {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the registry does not answer")
	return ""
}

func TestReferenceRegistry(t *testing.T) {
	addr := startRegistry(t)
	cfg := testConfig()
	cfg.Registries = []Registry{{Name: addr}}
	c := newClient(t, cfg)
	for _, size := range []int{1, 1024, chunk.Size, 5*chunk.Size + 3} {
		data := content(size)
		upload(t, "http://"+addr, "lib/app", data, userPassword)
		src := distribution.Source{Registry: addr, Repository: "lib/app", Digest: chunk.SumBytes(data), Authorization: userPassword}
		if n, err := c.Stat(context.Background(), src); err != nil || n != int64(size) {
			t.Errorf("Stat of %d bytes: %d, %v", size, n, err)
		}
		b := open(t, c, src)
		if !b.Ranged() {
			t.Errorf("a blob of %d bytes is not ranged", size)
		}
		wantWhole(t, b, data)
		var wg sync.WaitGroup
		for i := range chunk.Count(b.Size()) {
			wg.Go(func() {
				off, n := int64(i)*chunk.Size, chunk.Length(b.Size(), i)
				got, err := readRange(b, off, n)
				if err != nil || chunk.SumBytes(got) != chunk.SumBytes(data[off:off+n]) {
					t.Errorf("chunk %d of %d bytes: %v", i, size, err)
				}
			})
		}
		wg.Wait()
	}
	for name, auth := range map[string]string{"nobody": "", "wrong": "Basic dXNlcjp3cm9uZw=="} {
		_, err := c.Open(context.Background(), distribution.Source{
			Registry: addr, Repository: "lib/app", Digest: chunk.SumBytes(content(1)), Authorization: auth,
		})
		var refused *distribution.OriginError
		if !errors.As(err, &refused) || refused.Status != 401 || refused.Code != "UNAUTHORIZED" || len(refused.Challenge) != 1 {
			t.Errorf("%s: got %#v, want the registry's 401", name, err)
		}
	}
}
