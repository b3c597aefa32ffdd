package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoal-project/shoal/distribution"
)

// Identity is a node's Ed25519 key, and the name that follows from it.
type Identity struct {
	id  distribution.NodeID
	key ed25519.PrivateKey
}

// ID is the node's name. It holds the public key.
func (i Identity) ID() distribution.NodeID { return i.id }

// Key is the private key: for seals and for the exchange's certificates.
func (i Identity) Key() ed25519.PrivateKey { return i.key }

const (
	identityType = "PRIVATE KEY" // PKCS #8, as openssl writes it
	maxKeyFile   = 4 << 10
)

// NewIdentity makes a fresh identity that no file keeps.
func NewIdentity() (Identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("making an identity key: %w", err)
	}
	return identityOf(key)
}

// LoadIdentity reads the key file at path (PEM, PKCS #8, Ed25519), and makes it
// if there is none. A file that others may read, or that is not such a key, is
// refused, never replaced.
func LoadIdentity(path string) (Identity, error) {
	id, err := readIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = NewIdentity(); err != nil {
		return id, err
	}
	text, err := id.marshal()
	if err != nil {
		return Identity{}, err
	}
	err = createSecret(path, text)
	if errors.Is(err, fs.ErrExist) { // another process was first
		return readIdentity(path)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("making the identity key file %s: %w", path, err)
	}
	return id, nil
}

func readIdentity(path string) (Identity, error) {
	text, err := readSecret(path, 0o077)
	if err != nil {
		return Identity{}, fmt.Errorf("identity key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return Identity{}, fmt.Errorf("identity key file %s: %w: restore it from a backup, "+
			"or remove it to give this node a new identity", path, err)
	}
	return identityOf(key)
}

func parseKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != identityType {
		return nil, errors.New("not a PEM private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T, not an Ed25519 key", parsed)
	}
	return key, nil
}

func (i Identity) marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return nil, fmt.Errorf("encoding the identity key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: identityType, Bytes: der}), nil
}

func identityOf(key ed25519.PrivateKey) (Identity, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key.Public().(ed25519.PublicKey))
	if err != nil {
		return Identity{}, fmt.Errorf("identity key: %w", err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return Identity{}, fmt.Errorf("identity key: %w", err)
	}
	return Identity{id: distribution.NodeID(id.String()), key: key}, nil
}

// PublicKey is the key that a node's name holds.
func PublicKey(id distribution.NodeID) (ed25519.PublicKey, error) {
	decoded, err := peer.Decode(string(id))
	if err != nil {
		return nil, fmt.Errorf("node id %.64q: %w", id, err)
	}
	key, err := decoded.ExtractPublicKey()
	if err != nil || key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("node id %.64q holds no Ed25519 key", id)
	}
	raw, err := key.Raw()
	if err != nil {
		return nil, fmt.Errorf("node id %.64q: %w", id, err)
	}
	return raw, nil
}

// readSecret reads a small file that may not have any of the mode bits loose.
func readSecret(path string, loose fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&loose != 0:
		return nil, fmt.Errorf("%s has mode %04o, so others can use it: run chmod 0600 %s, "+
			"and replace the key if they may have read it", path, info.Mode().Perm(), path)
	case info.Size() > maxKeyFile:
		return nil, fmt.Errorf("%s has %d bytes, which no key file has", path, info.Size())
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return text, nil
}

// createSecret makes a file with mode 0600 that is either whole or not there,
// and never replaces one.
func createSecret(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
