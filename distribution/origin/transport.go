package origin

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

const (
	maxHeaderBytes = 64 << 10
	readBuffer     = 64 << 10
	writeBuffer    = 4 << 10
	idleTimeout    = 60 * time.Second
)

// newTransport speaks HTTP/1.1 only: HTTP/2 costs twice the CPU for bulk.
func newTransport(d *dialer, maxIdle int, caFile string) (*http.Transport, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  proxy,
		DialContext:            d.DialContext,
		Protocols:              protocols,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    d.timeout,
		MaxIdleConns:           4 * maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ReadBufferSize:         readBuffer,
		WriteBufferSize:        writeBuffer,
	}
	if caFile == "" {
		return t, nil
	}
	pool, err := loadCA(caFile)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

func loadCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s holds no PEM certificate", file)
	}
	return pool, nil
}

// proxy is the environment's (HTTPS_PROXY, NO_PROXY). Behind it names are
// resolved by the proxy and its rules hold; a bare address still meets ours.
func proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if u == nil || err != nil {
		return u, err
	}
	if ip, perr := netip.ParseAddr(req.URL.Hostname()); perr == nil && restricted(ip.Unmap().WithZone("")) {
		return nil, &privateError{host: req.URL.Host, ip: ip}
	}
	return u, nil
}

// proxyAddresses are the environment's proxies as a dialler names them.
func proxyAddresses() []string {
	var out []string
	for _, scheme := range [...]string{"http", "https"} {
		u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: "proxied.invalid"}})
		if err != nil || u == nil {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme]
		}
		out = append(out, net.JoinHostPort(u.Hostname(), port))
	}
	return out
}
