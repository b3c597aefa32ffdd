package node

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
)

// NetworkKey is the 32-byte secret that makes a node a member: empty for none.
type NetworkKey []byte

// The text form is libp2p's for pre-shared keys, version 1: three lines.
const (
	networkKeySize   = 32
	networkKeyHeader = "/key/swarm/psk/1.0.0/\n/base16/\n"
)

// NewNetworkKey makes a fresh key.
func NewNetworkKey() NetworkKey {
	key := make(NetworkKey, networkKeySize)
	rand.Read(key) // cannot fail: the runtime ends the process first
	return key
}

// MarshalText gives the key file's text.
func (k NetworkKey) MarshalText() ([]byte, error) {
	if len(k) != networkKeySize {
		return nil, fmt.Errorf("network key of %d bytes", len(k))
	}
	return []byte(networkKeyHeader + hex.EncodeToString(k) + "\n"), nil
}

// ParseNetworkKey reads the key file's text.
func ParseNetworkKey(text []byte) (NetworkKey, error) {
	clean := strings.TrimRight(string(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))), "\n")
	digits, ok := strings.CutPrefix(clean, networkKeyHeader)
	key, err := hex.DecodeString(digits)
	if !ok || err != nil || len(key) != networkKeySize {
		return nil, errors.New("not a network key: copy the file that `supernode key new` made, unchanged")
	}
	return key, nil
}

// LoadNetworkKey reads a key file. One that everybody may read, or that a group
// may write, is refused.
func LoadNetworkKey(path string) (NetworkKey, error) {
	text, err := readSecret(path, 0o027)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("network key: %w: make one with `supernode key new` and copy it to every node", err)
	}
	if err != nil {
		return nil, fmt.Errorf("network key: %w", err)
	}
	key, err := ParseNetworkKey(text)
	if err != nil {
		return nil, fmt.Errorf("network key file %s: %w", path, err)
	}
	return key, nil
}

// SaveNetworkKey makes a key file with mode 0600. It never replaces one.
func SaveNetworkKey(path string, key NetworkKey) error {
	text, err := key.MarshalText()
	if err != nil {
		return err
	}
	err = createSecret(path, text)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("network key file %s exists: remove it first, on every node, if the key must change", path)
	}
	if err != nil {
		return fmt.Errorf("making the network key file %s: %w", path, err)
	}
	return nil
}

// String keeps the key out of texts.
func (k NetworkKey) String() string { return "(network key)" }

// LogValue keeps the key out of logs.
func (k NetworkKey) LogValue() slog.Value { return slog.StringValue(k.String()) }
