package origin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/shoal-project/shoal/distribution"
)

// helperTTL is how long an answer of a credential helper or config.json is
// used before it is asked again.
const helperTTL = 5 * time.Minute

// credential is who a request is made as.
type credential struct {
	// key tells credentials apart without holding them.
	key [sha256.Size]byte
	// fixed is the Authorization header to send as it is when auth is nil; a
	// challenge is then the answer, and not ours to meet.
	fixed string
	// auth meets challenges; authn.Anonymous asks for a token as anybody.
	auth authn.Authenticator
}

func fixedCredential(header string) credential {
	return credential{key: sha256.Sum256([]byte("fixed " + header)), fixed: header}
}

func anonymousCredential() credential {
	return credential{key: sha256.Sum256([]byte("anonymous")), auth: authn.Anonymous}
}

// credential tells who a call is made as. forwarded calls without credentials
// get the challenge back instead of an anonymous token.
func (r *registry) credential(authorization string, forwarded bool) (credential, error) {
	scheme, rest, _ := strings.Cut(authorization, " ")
	switch {
	case authorization == distribution.NodeCredentials, authorization == "" && r.lend:
		return credential{key: sha256.Sum256([]byte("node")), auth: r.node}, nil
	case authorization == "" && forwarded:
		return fixedCredential(""), nil
	case authorization == "":
		return anonymousCredential(), nil
	case strings.EqualFold(scheme, "basic"):
		return basicCredential(strings.TrimSpace(rest))
	case strings.ContainsFunc(authorization, unicode.IsControl):
		return credential{}, malformed("Authorization")
	}
	return fixedCredential(authorization), nil
}

func malformed(what string) error {
	return &distribution.OriginError{
		Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "malformed " + what,
	}
}

func basicCredential(encoded string) (credential, error) {
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	user, password, ok := strings.Cut(string(decoded), ":")
	if err != nil || !ok {
		return credential{}, malformed("Basic credentials")
	}
	return credential{
		key:  sha256.Sum256([]byte("basic " + encoded)),
		auth: authn.FromConfig(authn.AuthConfig{Username: user, Password: password}),
	}, nil
}

// basicHeader is the header for a registry that asks for Basic; empty when
// there is nothing to say.
func basicHeader(cfg *authn.AuthConfig) string {
	switch {
	case cfg.RegistryToken != "":
		return "Bearer " + cfg.RegistryToken
	case cfg.Username != "" && cfg.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.Password))
	case cfg.Auth != "":
		return "Basic " + cfg.Auth
	}
	return ""
}

// passwordFile is a username with a password that is read at each use, so that
// a rotated one counts at once.
type passwordFile struct{ username, file string }

// Authorization implements authn.Authenticator.
func (p passwordFile) Authorization() (*authn.AuthConfig, error) {
	b, err := os.ReadFile(p.file)
	if err != nil {
		return nil, fmt.Errorf("password_file: %w", err)
	}
	return &authn.AuthConfig{Username: p.username, Password: strings.TrimRight(string(b), "\r\n")}, nil
}

// keychainAuth looks a registry's credentials up when they are used.
type keychainAuth struct {
	keychain authn.Keychain
	resource name.Registry
}

// Authorization implements authn.Authenticator.
func (k keychainAuth) Authorization() (*authn.AuthConfig, error) {
	return k.AuthorizationContext(context.Background())
}

// AuthorizationContext implements authn.ContextAuthenticator.
func (k keychainAuth) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	a, err := authn.Resolve(ctx, k.keychain, k.resource)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", k.resource, err)
	}
	return authn.Authorization(ctx, a)
}

// dockerConfig is a keychain over one config.json and its helpers.
type dockerConfig struct{ path string }

// Resolve implements authn.Keychain.
func (d dockerConfig) Resolve(target authn.Resource) (authn.Authenticator, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("docker_config: %w", err)
	}
	defer f.Close()
	cf, err := config.LoadFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("docker_config %s: %w", d.path, err)
	}
	key := target.RegistryStr()
	if key == name.DefaultRegistry {
		key = authn.DefaultAuthKey
	}
	c, err := cf.GetAuthConfig(key)
	if err != nil {
		return nil, fmt.Errorf("docker_config %s: %w", d.path, err)
	}
	return authn.FromConfig(authn.AuthConfig{
		Username: c.Username, Password: c.Password, Auth: c.Auth,
		IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	}), nil
}

// nodeAuth is the node's own authority at a registry; Anonymous if it has none.
func nodeAuth(cfg Config, r Registry, canonical string) (authn.Authenticator, error) {
	if r.Username != "" {
		return passwordFile{r.Username, r.PasswordFile}, nil
	}
	if cfg.DockerConfig == "" {
		return authn.Anonymous, nil
	}
	resource, err := name.NewRegistry(canonical)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", canonical, err)
	}
	keychain := authn.Keychain(dockerConfig{cfg.DockerConfig})
	if cfg.DockerConfig == "default" {
		keychain = authn.DefaultKeychain
	}
	return &cachedAuth{inner: keychainAuth{keychain, resource}, ttl: helperTTL}, nil
}
