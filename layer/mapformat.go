package layer

import "crypto/sha256"

// The map file, integers big endian. Its parts follow each other without gaps,
// so their lengths and the numbers at the end tell where each lies:
//
//	16 bytes      "shoal.lm", version 2 as one byte, 7 zeros
//	records       one an entry, in tar order, each padded with zeros to 8 bytes
//	40 bytes × f  files: SHA-256 32, object 4, offset in the object 4
//	48 bytes × o  objects: SHA-256 32, size 8, 1 if a pack 1, zeros 7
//	4 bytes × e   where each record begins in the file, in units of 8 bytes
//	32 bytes      diffID
//	4 bytes each  e, f, o, zero
//	8 bytes       the plain bytes in the tar stream
//	32 bytes      SHA-256 of everything before
//
// A record has its fixed part and then path, target, inline bytes, holes (the
// bytes of the bitmap) and extended attributes. Of these each is: the name's
// length 1, the name, the value's length 2, the value.
const (
	mapMagic   = "shoal.lm"
	mapVersion = 2
	mapHeader  = 16
	mapFile    = 40
	mapObject  = 48
	mapOffset  = 4
	mapCounts  = sha256.Size
	mapPlain   = mapCounts + 16
	mapTrailer = mapPlain + 8 + sha256.Size
	mapAlign   = 8
)

// Where a record's fixed fields lie.
const (
	recType    = 0  // 1
	recMode    = 2  // 2, after a zero
	recUID     = 4  // 4
	recGID     = 8  // 4
	recNsec    = 12 // 4
	recSec     = 16 // 8
	recSize    = 24 // 8: of a device its number
	recFile    = 32 // 4: into the files, or noFile
	recPath    = 36 // 2: lengths, from here
	recTarget  = 38 // 2
	recInline  = 40 // 2
	recHoles   = 42 // 2
	recXattrs  = 44 // 4
	recordSize = 48
)

// noFile says that an entry has no bytes in an object.
const noFile = 1<<32 - 1

// Bounds of the format, whatever Limits say.
const (
	maxName  = 1<<16 - 1 // path or target
	maxValue = 1<<16 - 1 // an extended attribute's value; its name has 255
	maxCount = 1<<31 - 1 // entries
	// maxRecords bounds the place where a record may begin.
	maxRecords = (1<<32 - 1) * mapAlign
)

// padded is n rounded up to a multiple of align, a power of two.
func padded(n, align int64) int64 { return (n + align - 1) &^ (align - 1) }
