package testregistry

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
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Program is the command that [StartDebian] runs, of the Debian package of the
// same name.
const Program = "docker-registry"

// Options say how to run a Debian registry.
type Options struct {
	Dir   string            // for its configuration, blobs and log; kept after Stop
	Addr  string            // host:port; empty is a free port of 127.0.0.1
	Users map[string]string // passwords by name; empty leaves it open to all
	// Start starts the command, for instance on a thread of another network
	// namespace. Nil is the command's own Start.
	Start func(*exec.Cmd) error
	// Dial reaches Addr; nil is this process's network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Debian is a running docker-registry.
type Debian struct {
	host    string
	dir     string
	client  *http.Client
	cmd     *exec.Cmd
	output  *os.File
	stop    sync.Once
	exited  chan struct{}
	exitErr error // valid after exited
}

const configuration = `version: 0.1
log:
  level: warn
  accesslog: {disabled: false}
storage:
  filesystem: {rootdirectory: %q, maxthreads: 100}
  delete: {enabled: true}
  maintenance:
    uploadpurging: {enabled: false}
http:
  addr: %q
  secret: for-tests-only
  headers: {X-Content-Type-Options: [nosniff]}
%s`

// StartDebian starts a registry and returns when it answers.
func StartDebian(ctx context.Context, o Options) (*Debian, error) {
	if o.Addr == "" {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		o.Addr = addr
	}
	r := &Debian{host: o.Addr, dir: o.Dir, exited: make(chan struct{})}
	r.client = &http.Client{Transport: &http.Transport{DialContext: o.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	config, err := writeConfig(o, r.dataDir())
	if err != nil {
		return nil, err
	}
	if err := r.start(o, config); err != nil {
		return nil, err
	}
	if err := r.ready(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func writeConfig(o Options, data string) (string, error) {
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	auth := ""
	if len(o.Users) > 0 {
		file := filepath.Join(o.Dir, "htpasswd")
		if err := writeUsers(file, o.Users); err != nil {
			return "", err
		}
		auth = fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %q}\n", file)
	}
	config := filepath.Join(o.Dir, "config.yml")
	return config, os.WriteFile(config, fmt.Appendf(nil, configuration, data, o.Addr, auth), 0o600)
}

func writeUsers(file string, users map[string]string) error {
	var lines []byte
	for user, password := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return err
		}
		lines = fmt.Appendf(lines, "%s:%s\n", user, hash)
	}
	return os.WriteFile(file, lines, 0o600)
}

func (r *Debian) start(o Options, config string) error {
	var err error
	r.output, err = os.OpenFile(r.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	r.cmd = exec.Command(Program, "serve", config)
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	begin := o.Start
	if begin == nil {
		begin = (*exec.Cmd).Start
	}
	if err := begin(r.cmd); err != nil {
		return errors.Join(fmt.Errorf("starting %s (apt-get install %s): %w", Program, Program, err), r.output.Close())
	}
	go func() {
		r.exitErr = r.cmd.Wait()
		close(r.exited)
	}()
	return nil
}

// ready polls until the registry answers.
func (r *Debian) ready(ctx context.Context) error {
	for {
		resp, err := r.get(ctx, "/v2/")
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-r.exited:
			out, _ := os.ReadFile(r.logFile())
			return fmt.Errorf("%s ended before it answered: %w: %s", Program, r.exitErr, out)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", Program, errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *Debian) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.host+path, nil)
	if err != nil {
		return nil, err
	}
	return r.client.Do(req)
}

// Host is host:port, as image references and registry settings spell it.
func (r *Debian) Host() string { return r.host }

// Pid is the process.
func (r *Debian) Pid() int { return r.cmd.Process.Pid }

func (r *Debian) dataDir() string { return filepath.Join(r.dir, "data") }
func (r *Debian) logFile() string { return filepath.Join(r.dir, "registry.log") }

// Stop ends the process and waits for it. Files stay. Further calls do nothing.
func (r *Debian) Stop() error {
	var err error
	r.stop.Do(func() {
		if kill := r.cmd.Process.Signal(syscall.SIGTERM); kill != nil && !errors.Is(kill, os.ErrProcessDone) {
			err = kill
		}
		select {
		case <-r.exited:
		case <-time.After(5 * time.Second):
			err = errors.Join(err, r.cmd.Process.Kill())
			<-r.exited
		}
		err = errors.Join(err, r.output.Close())
	})
	return err
}
