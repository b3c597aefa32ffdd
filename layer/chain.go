package layer

import "github.com/shoal-project/shoal/chunk"

// ChainIDs are the names of an image's layers with all below them, bottom first
// (OCI image spec, config, "Layer ChainID").
func ChainIDs(diffIDs []chunk.Digest) []chunk.Digest {
	chain := make([]chunk.Digest, len(diffIDs))
	for i, d := range diffIDs {
		if i == 0 {
			chain[i] = d
			continue
		}
		chain[i] = chunk.SumBytes([]byte(chain[i-1].String() + " " + d.String()))
	}
	return chain
}
