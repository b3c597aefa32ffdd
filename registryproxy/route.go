package registryproxy

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/shoal-project/shoal/chunk"
)

const dockerHub = "docker.io"

// The kinds of request, as metrics and logs name them.
const (
	kindPing      = "ping"
	kindToken     = "token"
	kindManifest  = "manifest"
	kindBlob      = "blob"
	kindTags      = "tags"
	kindReferrers = "referrers"
	kindOther     = "other"
)

// route is what a request's URL asks for.
type route struct {
	kind string
	repo repo
	// reference is the tag or digest; empty for a tag list.
	reference string
	// digest is reference as a SHA-256; zero for a tag or another algorithm.
	digest chunk.Digest
	// byNamespace says that the caller came by ?ns=.
	byNamespace bool
}

// path is what follows /v2/<repository>/ at the origin.
func (t route) path() string {
	switch t.kind {
	case kindManifest:
		return "manifests/" + t.reference
	case kindBlob:
		return "blobs/" + t.reference
	case kindReferrers:
		return "referrers/" + t.reference
	default:
		return "tags/list"
	}
}

// isTag tells a tag from a digest of any algorithm.
func (t route) isTag() bool { return t.kind == kindManifest && !strings.Contains(t.reference, ":") }

// The grammar of names is the distribution spec's; that of hosts is docker's.
var (
	nameGrammar   = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestGrammar = regexp.MustCompile(`^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{1,256}$`)
	sha512Grammar = regexp.MustCompile(`^sha512:[a-f0-9]{128}$`)
	hostGrammar   = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	portEscape    = regexp.MustCompile(`^(localhost|[^_]*\.[^_]*)_([0-9]{1,5})$`)
)

func validHost(h string) bool { return len(h) <= 255 && hostGrammar.MatchString(h) }

// parseRoute reads a URL. Every name in the result is valid; the registry is
// not canonical yet.
func parseRoute(u *url.URL, defaultRegistry string) (route, *problem) {
	if u.Path == tokenPath {
		return route{kind: kindToken}, nil
	}
	rest, ok := strings.CutPrefix(u.Path, "/v2")
	if !ok || (rest != "" && rest[0] != '/') {
		return route{kind: kindOther}, &problem{http.StatusNotFound, codeNameUnknown, "this is a registry: its API begins at /v2/"}
	}
	if rest == "" || rest == "/" {
		return route{kind: kindPing}, nil
	}
	t, name, bad := splitPath(rest[1:])
	if bad != nil {
		return t, bad
	}
	if bad := t.setReference(); bad != nil {
		return t, bad
	}
	return t, t.setRepo(name, u.Query().Get("ns"), defaultRegistry)
}

// splitPath finds the kind from the end, because a repository's name may
// contain "manifests" or "blobs".
func splitPath(p string) (t route, name string, bad *problem) {
	parts := strings.Split(p, "/")
	n := len(parts)
	if parts[n-1] == "_catalog" {
		return route{kind: kindOther}, "", &problem{http.StatusNotFound, codeUnsupported, "catalogues are not served: ask the origin itself"}
	}
	if n < 3 {
		return route{kind: kindOther}, "", &problem{http.StatusNotFound, codeNameInvalid, "not a path of the distribution API"}
	}
	name, ref := strings.Join(parts[:n-2], "/"), parts[n-1]
	switch parts[n-2] {
	case "manifests":
		return route{kind: kindManifest, reference: ref}, name, nil
	case "blobs":
		if ref != "uploads" {
			return route{kind: kindBlob, reference: ref}, name, nil
		}
		return route{kind: kindOther}, "", &problem{http.StatusNotFound, codeUnsupported, pushHint}
	case "referrers":
		return route{kind: kindReferrers, reference: ref}, name, nil
	case "tags":
		if ref == "list" {
			return route{kind: kindTags}, name, nil
		}
	}
	return route{kind: kindOther}, "", &problem{http.StatusNotFound, codeNameInvalid, "not a path of the distribution API"}
}

func (t *route) setReference() *problem {
	switch {
	case t.kind == kindTags:
		return nil
	case t.kind == kindManifest && !strings.Contains(t.reference, ":"):
		if !tagGrammar.MatchString(t.reference) {
			return &problem{http.StatusBadRequest, codeTagInvalid, "not a valid tag"}
		}
		return nil
	}
	invalid := &problem{http.StatusBadRequest, codeDigestInvalid, "not a valid digest: write sha256: and 64 lower-case hexadecimal digits"}
	algorithm, _, _ := strings.Cut(t.reference, ":")
	switch algorithm {
	case "sha256":
		d, err := chunk.ParseDigest(t.reference)
		if err != nil {
			return invalid
		}
		t.digest = d
	case "sha512":
		if !sha512Grammar.MatchString(t.reference) {
			return invalid
		}
	default:
		if !digestGrammar.MatchString(t.reference) {
			return invalid
		}
	}
	return nil
}

func (t *route) setRepo(name, namespace, defaultRegistry string) *problem {
	switch first, rest, more := strings.Cut(name, "/"); {
	case namespace != "":
		t.repo, t.byNamespace = repo{namespace, name}, true
	case more && isRegistry(first):
		t.repo = repo{unescapePort(first), rest}
	case defaultRegistry != "":
		t.repo = repo{defaultRegistry, name}
	default:
		return &problem{http.StatusNotFound, codeNameUnknown, "no registry is named: put one before the repository, as in quay.io/" + trim(name)}
	}
	if !validHost(t.repo.registry) {
		return &problem{http.StatusBadRequest, codeNameInvalid, "not a valid registry: write host or host:port"}
	}
	if len(t.repo.name) > 255 || !nameGrammar.MatchString(t.repo.name) {
		return &problem{http.StatusBadRequest, codeNameInvalid, "not a valid repository name"}
	}
	return nil
}

// isRegistry is docker's own rule for the first component of a reference.
func isRegistry(component string) bool {
	return strings.ContainsAny(component, ".:") || component == "localhost" || portEscape.MatchString(component)
}

func unescapePort(component string) string {
	if m := portEscape.FindStringSubmatch(component); m != nil {
		return m[1] + ":" + m[2]
	}
	return component
}

// canonical is the default for [WithCanonical].
func canonical(host string) (string, error) {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub, nil
	}
	return host, nil
}

// canonicalize gives the repository the names under which all callers share it.
func (t *route) canonicalize(canonical func(string) (string, error)) *problem {
	host, err := canonical(t.repo.registry)
	if err != nil {
		return &problem{http.StatusBadRequest, codeNameInvalid, trim(err.Error())}
	}
	t.repo.registry = host
	if host == dockerHub && !strings.Contains(t.repo.name, "/") {
		t.repo.name = "library/" + t.repo.name
	}
	return nil
}
