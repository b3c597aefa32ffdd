package origin

import (
	"errors"
	"net"
	"net/http"
	"strings"
)

const (
	maxChallenges = 8
	maxChallenge  = 4 << 10
)

// challenge is what a WWW-Authenticate header asks for. Only "basic" and
// "bearer" are understood; the scheme is in lower case.
type challenge struct {
	scheme                string
	realm, service, scope string
}

// challengeHeaders are a 401's header values, bounded.
func challengeHeaders(h http.Header) []string {
	var out []string
	for _, v := range h.Values("WWW-Authenticate") {
		if len(v) <= maxChallenge && len(out) < maxChallenges {
			out = append(out, v)
		}
	}
	return out
}

// pickChallenge gives the first challenge that is understood, Bearer before
// Basic because it keeps the password away from the registry.
func pickChallenge(values []string) (challenge, bool) {
	var best challenge
	for _, v := range values {
		for _, c := range parseChallenges(v) {
			switch {
			case c.scheme == "bearer" && c.realm != "":
				return c, true
			case c.scheme == "basic" && best.scheme == "":
				best = c
			}
		}
	}
	return best, best.scheme != ""
}

// parseChallenges reads one header value, which may hold several challenges
// (RFC 9110, 11.6.1). What it cannot read ends the parse.
func parseChallenges(s string) []challenge {
	var out []challenge
	for len(out) < maxChallenges {
		s = strings.TrimLeft(s, " \t,")
		word, rest := cutToken(s)
		if word == "" {
			return out
		}
		c := challenge{scheme: strings.ToLower(word)}
		s = parseParams(strings.TrimLeft(rest, " \t"), &c)
		out = append(out, c)
	}
	return out
}

// parseParams reads name=value pairs up to the next scheme or the end.
func parseParams(s string, c *challenge) string {
	for {
		s = strings.TrimLeft(s, " \t,")
		name, rest := cutToken(s)
		rest = strings.TrimLeft(rest, " \t")
		if name == "" || !strings.HasPrefix(rest, "=") {
			return s
		}
		value, rest, ok := cutValue(strings.TrimLeft(rest[1:], " \t"))
		if !ok {
			return ""
		}
		switch strings.ToLower(name) {
		case "realm":
			c.realm = value
		case "service":
			c.service = value
		case "scope":
			c.scope = value
		}
		s = rest
	}
}

func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && s[i] > ' ' && s[i] < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, rune(s[i])) {
		i++
	}
	return s[:i], s[i:]
}

// cutValue reads a token or a quoted string. Unquoted values may hold what many
// registries put there although the grammar does not (":", "/").
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, ", \t")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// notFound tells that a host name does not exist.
func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
