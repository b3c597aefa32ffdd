package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	files "github.com/docker/cli/cli/config/credentials"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	// helperTTL is how long an answer of config.json or a credential helper is
	// used before it is asked again.
	helperTTL = 5 * time.Minute
	// helperTimeout is how long a credential helper may take.
	helperTimeout = 30 * time.Second
)

// registryName is a registry as a keychain's target.
type registryName string

func (n registryName) String() string { return string(n) }

// RegistryStr implements authn.Resource.
func (n registryName) RegistryStr() string { return string(n) }

// keychainAuth looks a registry's credentials up when they are used.
type keychainAuth struct {
	keychain authn.ContextKeychain
	resource registryName
}

// AuthorizationContext implements authn.ContextAuthenticator.
func (k keychainAuth) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	a, err := k.keychain.ResolveContext(ctx, k.resource)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", k.resource, err)
	}
	return authn.Authorization(ctx, a)
}

// dockerConfig is a keychain over one config.json, or over the usual one for
// "default". It differs from go-containerregistry's in that a helper can be
// stopped, and that its output stays out of error messages.
type dockerConfig struct{ path string }

var _ authn.ContextKeychain = dockerConfig{}

// ResolveContext implements authn.ContextKeychain.
func (d dockerConfig) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	path := d.path
	if path == "default" {
		path = usualConfig()
	}
	if path == "" {
		return authn.Anonymous, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("docker_config: %w", err)
	}
	defer f.Close()
	cf, err := config.LoadFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("docker_config %s: %w", path, err)
	}
	for _, key := range configKeys(target.RegistryStr()) {
		found, err := lookUp(ctx, cf, key)
		if err != nil {
			return nil, fmt.Errorf("docker_config %s: %w", path, err)
		}
		if found != (authn.AuthConfig{}) {
			return authn.FromConfig(found), nil
		}
	}
	return authn.Anonymous, nil
}

// configKeys are the names under which tools keep a registry's credentials.
func configKeys(registry string) []string {
	if registry == hubName {
		return []string{authn.DefaultAuthKey, "index.docker.io", hubName}
	}
	return []string{registry}
}

func lookUp(ctx context.Context, cf *configfile.ConfigFile, key string) (authn.AuthConfig, error) {
	helper, ok := cf.CredentialHelpers[key]
	if !ok {
		helper = cf.CredentialsStore
	}
	if helper != "" {
		return askHelper(ctx, helper, key)
	}
	c, err := files.NewFileStore(cf).Get(key)
	if err != nil {
		return authn.AuthConfig{}, errors.New("unreadable entry")
	}
	return authn.AuthConfig{
		Username: c.Username, Password: c.Password, Auth: c.Auth,
		IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}, nil
}

// askHelper runs docker-credential-<helper> get.
func askHelper(ctx context.Context, helper, key string) (authn.AuthConfig, error) {
	if helper != filepath.Base(helper) {
		return authn.AuthConfig{}, fmt.Errorf("credential helper %.80q is not a plain name", helper)
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	got, err := client.Get(func(args ...string) client.Program {
		cmd := exec.CommandContext(ctx, "docker-credential-"+helper, args...)
		cmd.WaitDelay = time.Second
		return &program{cmd}
	}, key)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return authn.AuthConfig{}, nil
	case ctx.Err() != nil:
		return authn.AuthConfig{}, fmt.Errorf("docker-credential-%s: %w", helper, ctx.Err())
	case err != nil:
		return authn.AuthConfig{}, fmt.Errorf("docker-credential-%s failed; run it by hand to see why", helper)
	case got.Username == "<token>":
		return authn.AuthConfig{IdentityToken: got.Secret}, nil
	}
	return authn.AuthConfig{Username: got.Username, Password: got.Secret}, nil
}

// program is a command as the helpers' library wants it.
type program struct{ cmd *exec.Cmd }

func (p *program) Output() ([]byte, error) { return p.cmd.Output() }

func (p *program) Input(in io.Reader) { p.cmd.Stdin = in }

// usualConfig is where docker or podman keep credentials; empty if nowhere.
func usualConfig() string {
	home, _ := os.UserHomeDir()
	for _, at := range []struct{ dir, file string }{
		{os.Getenv("DOCKER_CONFIG"), "config.json"},
		{home, ".docker/config.json"},
		{filepath.Dir(os.Getenv("REGISTRY_AUTH_FILE")), filepath.Base(os.Getenv("REGISTRY_AUTH_FILE"))},
		{os.Getenv("XDG_RUNTIME_DIR"), "containers/auth.json"},
		{home, ".config/containers/auth.json"},
	} {
		path := filepath.Join(at.dir, at.file)
		if info, err := os.Stat(path); at.dir != "" && err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}
