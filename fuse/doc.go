// Package fuse is the lazy file system: it shows images as directories whose
// files can be read before their bytes are here.
//
// An [FS] has one FUSE connection for all images of a node. Below its root,
// each image is a directory ([FS.Add]), for the daemon to bind-mount where a
// container wants it. Names, attributes, links and extended attributes are
// looked up in place in the image's tree ([erofs.Image], usually a memory map),
// and the kernel keeps the answers, absent names included, because an image
// never changes. Bytes are read in place from the files of the node's store
// ([Content], [Object]); what is missing is asked for, ahead of all that nobody
// waits for, and what is likely to be read next is asked for with it.
//
// # What it guarantees
//
//   - Never a wrong byte. Bytes are given only if they were present, which means
//     verified, after they were read; a file that is shorter than it should be
//     is an error, not zeros.
//   - A read of bytes that cannot be had now waits, up to [Config].Deadline, and
//     [Image.Status] and the metrics tell what it waits for. Then it fails with EIO.
//   - Many readers of one block cost one fetch, and one that goes away takes
//     nothing from the others. Signals do not fail reads, but a reader that waits
//     can be killed.
//   - Whatever would change something fails with EROFS.
//   - What stat tells is what the tree tells: one inode for all hard links, with
//     their count; devices; set-uid bits, capabilities and access control lists
//     that count; times before 1970; and inode numbers that are always the same.
//   - A tree may be hostile. Then requests fail, and nothing else does.
//
// # Objects
//
// Beside an image's directory, and listed nowhere, is that of its objects
// ([ObjectsDir]): files that only root may read, named by their numbers in the tree's
// device table. They are there for the kernel's EROFS: mounted over them ([erofs.Detached],
// in another process than the one that serves them), an image's tree needs this
// file system for bytes alone that nobody read yet, and a missing byte waits, or
// fails, as it does here. Their node ids have the highest bit of the inode's number
// set, which is no tree's.
//
// # Passthrough
//
// A complete file that is an object of its own, and at least
// [Config].PassthroughMin bytes long, is read by the kernel itself, out of the
// store's file. The first open of a file decides for all others until the last is
// closed, because the kernel allows an inode one way at a time; so a file that was
// opened while it was incomplete gets faster when it is opened anew. The price
// is a layer of stacking for the whole mount: with passthrough on, one overlay
// can stand upon the file system, but not a second upon that (a container that
// mounts overlays of its own on its root). Set [Config].Passthrough to false there.
//
// # Node ids and taking over
//
// A node id is the image's id (24 bits) and the inode's number in its tree (40
// bits); offsets in directories are the tree's, too. So nothing that the kernel
// remembers depends on this process's life: there is no table of inodes, FORGET
// means nothing, and a process that has a descriptor of the connection, its
// [Session], the table of open files and the same images can answer where this one
// stopped, however that was: see [FS.MountKept], [FS.Device] and [FS.Resume]. Requests
// that were under way are answered then. What is lost are the habits of readers,
// which cost speed alone. It takes Linux 6.9.
//
// The table says which open files are, or could be, in passthrough, and by which
// backing id, because the kernel fails an open in another way with EIO. Its format
// is described at the type opens; it holds on one machine until that is booted.
//
// # What it does not do
//
// It fetches, verifies and stores nothing, keeps no cache of its own, and mounts
// no image anywhere but below its root. It does not read its own mount, and
// neither may the process that serves it.
//
// # Concurrency
//
// All methods may be called from many goroutines; requests of the kernel are
// answered each on a goroutine of its own. A request holds its image while it
// runs; [FS.Remove] ends what waits, waits for the rest, and then lets go of
// the tree and the objects. No lock is held while the kernel is told of a change.
package fuse
