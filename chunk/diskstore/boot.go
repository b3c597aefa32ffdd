package diskstore

import (
	"io"
	"os"
	"path/filepath"
)

// maxBoot bounds the file of the boot.
const maxBoot = 128

// forgetBoot takes back, before anything else of a store is read, that its
// merely written chunks were checked since the kernel started.
func (s *Store) forgetBoot() error { return removeFile(filepath.Join(s.dir, bootName)) }

// noteBoot tells those who [Peek] that all merely written chunks were given to
// this run of the kernel, or were hashed since it started: what the kernel
// holds of them is right. It need not be durable, for it means nothing after.
func (s *Store) noteBoot() {
	id := bootID()
	if id == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(s.dir, bootName), []byte(id+"\n"), 0o600); err != nil {
		s.log.Warn("noting that the store was checked; others see only what is durable", "error", err)
	}
}

// sameBoot tells whether the store in dir was checked since the kernel started.
func sameBoot(dir string) bool {
	f, err := openPlain(filepath.Join(dir, bootName))
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBoot))
	id := bootID()
	return err == nil && id != "" && string(b) == id+"\n"
}
