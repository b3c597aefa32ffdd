package origin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/shoal-project/shoal/distribution"
)

// tokenMargin is how long before its end a token is replaced; defaultTTL is a
// token's life when its server does not tell (the token specification's 60 s).
const (
	tokenMargin = 5 * time.Second
	defaultTTL  = 60 * time.Second
)

// sessionKey names a session. The same caller may have different tokens for
// different repositories, and at a mirror.
type sessionKey struct {
	endpoint   string
	repository string
	credential [sha256.Size]byte
}

// session is one credential at one endpoint for one repository, and the token
// that it was given. go-containerregistry's own bearer transport pings for each
// session, and renews once per request that a stale token failed; this one asks
// nothing that the endpoint's last challenge has told, and renews once for all.
type session struct {
	ep         *endpoint
	repository string
	cred       credential
	metrics    *Metrics

	lock    chan struct{} // holds one value while locked; guards what follows
	token   string
	expires time.Time
	scope   string // the challenge's own, where it differs
}

func newSession(ep *endpoint, repository string, cred credential, m *Metrics) *session {
	return &session{ep: ep, repository: repository, cred: cred, metrics: m, lock: make(chan struct{}, 1)}
}

// header is the Authorization to send now; it asks for a token if the endpoint
// is known to want one.
func (s *session) header(ctx context.Context) (string, error) {
	if s.cred.auth == nil {
		return s.cred.fixed, nil
	}
	ch := s.ep.challenge.Load()
	if ch == nil {
		return "", nil
	}
	cfg, err := authn.Authorization(ctx, s.cred.auth)
	if err != nil {
		return "", &distribution.OriginError{Message: oneLine("node credentials: " + err.Error()), Err: err}
	}
	if ch.scheme == "basic" || cfg.RegistryToken != "" {
		return basicHeader(cfg), nil
	}
	return s.bearer(ctx, *ch)
}

func (s *session) bearer(ctx context.Context, ch challenge) (string, error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if s.token == "" || !time.Now().Before(s.expires) {
		if err := s.exchange(ctx, ch); err != nil {
			return "", err
		}
	}
	return "Bearer " + s.token, nil
}

// challenged learns from a 401 to a request that carried sent. It gives another
// header if there is one that is worth a try.
func (s *session) challenged(ctx context.Context, values []string, sent string) (next string, again bool, err error) {
	ch, ok := pickChallenge(values)
	if s.cred.auth == nil || !ok {
		return "", false, nil
	}
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return "", false, context.Cause(ctx)
	}
	refused := sent != "" && (s.token == "" || sent == "Bearer "+s.token)
	if refused {
		s.token = ""
	}
	s.scope = ch.scope
	<-s.lock
	if c, ok := s.cred.auth.(*cachedAuth); ok && refused {
		c.forget(ctx)
	}
	s.ep.challenge.Store(&challenge{scheme: ch.scheme, realm: ch.realm, service: ch.service})
	next, err = s.header(ctx)
	return next, next != "" && next != sent, err
}

// exchange gets a token, by go-containerregistry's implementation of both token
// protocols. The lock is held.
func (s *session) exchange(ctx context.Context, ch challenge) error {
	reg, err := realmRegistry(s.ep, ch.realm)
	if err != nil {
		return err
	}
	scopes := []string{"repository:" + s.repository + ":pull"}
	if s.scope != "" && !slices.Contains(scopes, s.scope) {
		// Some token servers look at the first one only.
		scopes = append([]string{s.scope}, scopes...)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.ep.timeout, errStalled)
	defer cancel()
	tok, err := transport.Exchange(ctx, reg, s.cred.auth, s.ep.transport, scopes, &transport.Challenge{
		Scheme:     "bearer",
		Parameters: map[string]string{"realm": ch.realm, "service": ch.service},
		Insecure:   s.ep.base.Scheme == "http",
	})
	if err != nil {
		s.metrics.tokens.WithLabelValues("failed").Inc()
		return tokenError(err)
	}
	s.metrics.tokens.WithLabelValues("ok").Inc()
	s.token = tok.Token
	if tok.AccessToken != "" {
		s.token = tok.AccessToken
	}
	s.expires = time.Now().Add(tokenLife(tok.ExpiresIn))
	return nil
}

func tokenLife(seconds int) time.Duration {
	ttl := time.Duration(min(seconds, 24*3600)) * time.Second
	if seconds <= 0 {
		ttl = defaultTTL
	}
	return max(ttl-tokenMargin, ttl/2)
}

// realmRegistry is the registry that the exchange trusts its realm by. For a
// configured registry that is the realm itself: such a registry may keep its
// token server at a private address, and the dialler has the last word anyway.
func realmRegistry(ep *endpoint, realm string) (name.Registry, error) {
	host := ep.base.Host
	if u, err := url.Parse(realm); err == nil && ep.configured {
		host = u.Host
	}
	reg, err := name.NewRegistry(host)
	if err != nil {
		return reg, lie("token server %.80q", realm)
	}
	return reg, nil
}

// tokenError keeps what a token server said about a refusal, and nothing of an
// answer that might hold a secret.
func tokenError(err error) error {
	var te *transport.Error
	if errors.As(err, &te) {
		e := &distribution.OriginError{Status: te.StatusCode, Message: "token server: " + http.StatusText(te.StatusCode)}
		if len(te.Errors) > 0 {
			e.Code = oneLine(string(te.Errors[0].Code))
			e.Message = oneLine("token server: " + te.Errors[0].Message)
		}
		return e
	}
	var ue *url.Error
	var private *privateError
	if errors.As(err, &ue) || errors.As(err, &private) || errors.Is(err, errStalled) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("token server: %w", err)
	}
	return &distribution.OriginError{Message: "token server: no token in its answer"}
}
