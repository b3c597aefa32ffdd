package registryproxy

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

const (
	tokenPath   = "/shoal/token"
	tokenPrefix = "shoal."
	tokenLife   = time.Hour
)

// login is a token server for clients that decide by the answer to /v2/ whether
// they send credentials at all. Its tokens are their Basic credentials (or
// none), sealed with a key of this process; before the origin they are opened
// again. Nothing is verified here: the origin does that when it is asked.
type login struct {
	aead cipher.AEAD
	now  func() time.Time
}

var errToken = errors.New("not a token of this process, or expired")

func newLogin(now func() time.Time) (*login, error) {
	block, err := aes.NewCipher(newSecret())
	if err != nil {
		return nil, fmt.Errorf("making the token key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making the token key: %w", err)
	}
	return &login{aead, now}, nil
}

// seal makes a token of an Authorization value.
func (l *login) seal(authorization string) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(l.now().Add(tokenLife).Unix()))
	plain = append(plain, authorization...)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(l.aead.Seal(nil, nil, plain, nil))
}

func (l *login) open(token string) (authorization string, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, tokenPrefix))
	if err != nil {
		return "", errToken
	}
	plain, err := l.aead.Open(nil, nil, sealed, nil)
	if err != nil || len(plain) < 8 || int64(binary.BigEndian.Uint64(plain)) < l.now().Unix() {
		return "", errToken
	}
	return string(plain[8:]), nil
}

// own cuts a token of ours out of an Authorization value.
func (l *login) own(authorization string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(authorization, " ")
	return token, strings.EqualFold(scheme, "bearer") && strings.HasPrefix(token, tokenPrefix)
}

// authorization is the caller's own, as the origin shall see it. A caller may
// not speak as the node. One whose token went with a restart is nobody.
func (c *call) authorization() string {
	a := c.r.Header.Get("Authorization")
	if token, ok := c.login.own(a); ok {
		a, _ = c.login.open(token)
	}
	if a == distribution.NodeCredentials {
		return ""
	}
	return a
}

// ping answers /v2/. Whoever has no token of ours is told where to get one: with
// 401 where Config.Login says so, otherwise beside a 200, as RFC 9110 section
// 11.6.1 allows. podman, skopeo and CRI-O heed that one too; docker does not.
func (c *call) ping() {
	token, _ := c.login.own(c.r.Header.Get("Authorization"))
	_, err := c.login.open(token)
	if err != nil && validHost(c.r.Host) {
		c.w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q,service=%q", c.scheme()+"://"+c.r.Host+tokenPath, "shoal"))
		if c.cfg.Login {
			c.fail(&problem{http.StatusUnauthorized, codeUnauthorized, "get a token first; no account is needed for public images"})
			return
		}
	}
	c.small("application/json", []byte("{}"))
}

func (c *call) scheme() string {
	if c.r.TLS != nil {
		return "https"
	}
	return "http"
}

// token gives a token for the credentials that came, or for none.
func (c *call) token() {
	a := c.r.Header.Get("Authorization")
	if scheme, _, _ := strings.Cut(a, " "); a != "" && !strings.EqualFold(scheme, "basic") {
		c.fail(&problem{http.StatusUnauthorized, codeUnauthorized, "log in with a user and a password"})
		return
	}
	t := c.login.seal(a)
	body, _ := json.Marshal(map[string]any{ // strings and a number always marshal
		"token": t, "access_token": t, "expires_in": int(tokenLife.Seconds()), "issued_at": c.login.now().UTC().Format(time.RFC3339),
	})
	c.w.Header().Set("Cache-Control", "no-store")
	c.small("application/json", body)
}
