package origin

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/shoal-project/shoal/distribution"
)

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

// nodeAuth is the node's own authority at a registry; Anonymous if it has none.
func nodeAuth(cfg Config, r Registry, canonical string) authn.Authenticator {
	if r.Username != "" {
		return passwordFile{r.Username, r.PasswordFile}
	}
	if cfg.DockerConfig == "" {
		return authn.Anonymous
	}
	auth := keychainAuth{dockerConfig{cfg.DockerConfig}, registryName(canonical)}
	return newCachedAuth(auth, helperTTL)
}
