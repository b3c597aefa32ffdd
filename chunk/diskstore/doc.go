// Package diskstore is chunk.Store on a local file system.
//
// Each object is one sparse file of its plain bytes from offset 0, so that a
// complete one can be sent by sendfile, back a FUSE passthrough open or serve as
// an EROFS device. Beside it lies its have-map: for every chunk a mark and the
// digests of its blocks. A sealed object also has a seal file. docs/FORMAT.md
// gives every byte.
//
//	dir/lock           held (flock) while a process has the store open
//	dir/ab/<hex>       the object whose digest starts with ab
//	dir/ab/<hex>.have  its have-map
//	dir/ab/<hex>.seal  its chunk list and seal
//	dir/pins/*.pin     the names of objects that are not to be evicted
//	dir/boot           since when merely written chunks are known to be right
//	dir/*.tmp          an object that was being ingested; removed at Open,
//	dir/*/*.tmp        as are seals and pins that were being written
//
// Blocks of zeros are holes: they take no room, and count for nothing.
//
// # What survives
//
// Put writes the chunk's sums and a "written" mark at once, without waiting for
// the disk: after a kill the kernel still has them and the bytes. A background
// task makes the data durable in batches (fdatasync) and only then writes the
// "durable" mark. When an object is next opened, its durable chunks are taken at
// their word and the merely written ones are read and hashed: those that a power
// failure lost are forgotten. A mark carries a checksum over itself and its
// chunk's sums, so a torn one counts as absent. Nothing that is read back is
// trusted further than its checks; a side file that fails them costs its object
// (or chunk), which is logged and removed, and never an error of the whole store.
// A damaged pin still pins what can be read of it.
//
// # What it does not do
//
// It does not read content to check it (but for the above): the reader verifies
// with Sums, and calls Drop when a disk gave back something else. It does not
// know which keys are trusted under a seal.
//
// # Other processes
//
// [Peek] gives another process, the lazy file system, a read-only view of an
// object while its owner writes it. It believes what an owner believes after a
// restart, without the hashing: chunks that are not durable count only if the
// file boot says that they were checked since the kernel started.
//
// # Concurrency
//
// All methods are safe for concurrent use. Data is read and written without any
// lock; an object's lock is held for bitmap updates, the store's for its table.
// Locks are taken in the order ingest.mu and Store.pinMu, object.life, Store.mu and object.mu,
// Store.dirtyMu; never an earlier one while holding a later one.
package diskstore
