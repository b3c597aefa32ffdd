//go:build linux

package fuse

import (
	"reflect"
	"sync"
	"unsafe"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// requestSize is more than any request to a file system that is never written to
// has; go-fuse's buffers have room for writes.
const requestSize = 8 << 10

// touchBuffers has the pages of a new buffer for requests there before the kernel
// copies a request into it. If it still has to provide one while the process is
// being killed, it fails that request with EIO, instead of keeping it for the next
// process (Linux fs/fuse/dev.c, fuse_dev_do_read). go-fuse gives no other way to
// its buffers than by reflection; false says that they were not found.
func touchBuffers(server *gofuse.Server) bool {
	field := reflect.ValueOf(server).Elem().FieldByName("readPool")
	if !field.IsValid() || field.Type() != reflect.TypeFor[sync.Pool]() {
		return false
	}
	pool := (*sync.Pool)(unsafe.Pointer(field.UnsafeAddr()))
	fresh := pool.New
	pool.New = func() any {
		b := fresh()
		if buf, ok := b.([]byte); ok {
			clear(buf[:min(requestSize, len(buf))])
		}
		return b
	}
	return true
}
