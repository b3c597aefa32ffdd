package origin

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Docker Hub answers at another host than the one in its images' names.
const (
	hubName     = "docker.io"
	hubEndpoint = "registry-1.docker.io"
)

// Canonical gives the one spelling of a registry's name: "docker.io" for Docker
// Hub under all its names, otherwise host or host:port in lower case. Anything
// that is not exactly a host name, an IPv4 address or a bracketed IPv6 address,
// with or without a port, is an error.
func Canonical(host string) (string, error) {
	name := strings.ToLower(host)
	switch name {
	case hubName, "index.docker.io", hubEndpoint:
		return hubName, nil
	}
	bare, port, hasPort := splitName(name)
	if hasPort && !validPort(port) {
		return "", fmt.Errorf("registry name %.80q: bad port", host)
	}
	if !validHost(bare) {
		return "", fmt.Errorf("registry name %.80q: want host or host:port", host)
	}
	return name, nil
}

// splitName cuts a port off; brackets stay with the host.
func splitName(name string) (host, port string, hasPort bool) {
	if strings.HasPrefix(name, "[") {
		i := strings.IndexByte(name, ']')
		if i < 0 || i == len(name)-1 {
			return name, "", false
		}
		if name[i+1] != ':' {
			return "", "", false
		}
		return name[:i+1], name[i+2:], true
	}
	return strings.Cut(name, ":")
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0' && port[0] != '+'
}

func validHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && a.Zone() == ""
	}
	if len(host) == 0 || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// loopbackName tells the names that are spoken to in clear text unless
// configured otherwise.
func loopbackName(name string) bool {
	host, _, _ := splitName(name)
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// hostPort is how a dialler names an endpoint.
func hostPort(host, scheme string) string {
	bare, port, ok := splitName(host)
	if !ok {
		port = "443"
		if scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(strings.Trim(bare, "[]"), port)
}

// validRepository and validPath keep a request under /v2/<repository>/.
func validRepository(repo string) bool { return len(repo) <= 255 && validSegments(repo, "") }

func validPath(path string) bool { return len(path) <= 512 && validSegments(path, ":+") }

func validSegments(s, extra string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
		for _, c := range []byte(part) {
			alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !alnum && !strings.ContainsRune("._-"+extra, rune(c)) {
				return false
			}
		}
	}
	return true
}
