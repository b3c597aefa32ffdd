package exchange

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/shoal-project/shoal/distribution"
)

// tlsConfig is TLS 1.3 with this node's identity certificate, demanding one from
// the other side; its name is checked by verify, also when a session is resumed.
// (Go prefers AES-GCM where both machines have AES instructions.)
func tlsConfig(key crypto.PrivKey, verify func(distribution.NodeID) error) (*tls.Config, error) {
	id, err := libp2ptls.NewIdentity(key)
	if err != nil {
		return nil, fmt.Errorf("identity certificate: %w", err)
	}
	cfg, _ := id.ConfigForPeer("")
	cfg.VerifyPeerCertificate = nil // it is skipped on resumption
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		remote, err := certifiedID(state)
		if err != nil {
			return err
		}
		return verify(remote)
	}
	cfg.NextProtos = []string{"http/1.1"}
	cfg.SessionTicketsDisabled = false
	return cfg, nil
}

// certifiedID is the name that the other side's certificate proves.
func certifiedID(state tls.ConnectionState) (distribution.NodeID, error) {
	if len(state.PeerCertificates) != 1 {
		return "", errors.New("want one identity certificate")
	}
	// Certificates in a state may be shared by connections, and the check below
	// writes into its argument.
	cert, err := x509.ParseCertificate(state.PeerCertificates[0].Raw)
	if err != nil {
		return "", fmt.Errorf("identity certificate: %w", err)
	}
	key, err := libp2ptls.PubKeyFromCertChain([]*x509.Certificate{cert})
	if err != nil {
		return "", fmt.Errorf("identity certificate: %w", err)
	}
	id, err := peer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("identity certificate: %w", err)
	}
	return distribution.NodeID(id.String()), nil
}
