//go:build linux

package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-project/shoal/internal/pull"
)

// sources are the repositories that may have what a manifest with these labels
// names, the likeliest first.
func (g *gathering) sources(labels map[string]string) []string {
	var all []string
	for _, s := range append([]string{g.request.From}, append(sourcesIn(labels), g.name)...) {
		ref, err := pull.ParseReference(s)
		if err != nil {
			continue // a label or a name of somebody else's making
		}
		if repository := ref.Registry + "/" + ref.Repository; !slices.Contains(all, repository) {
			all = append(all, repository)
		}
	}
	return all
}

// fetch brings what is missing, one blob after another: the peer fetches the
// chunks of each in parallel.
func (g *gathering) fetch(ctx context.Context) error {
	for _, l := range g.lacks {
		if err := g.one(ctx, l); err != nil {
			return err
		}
		g.done += l.blob.Size
		g.say(News{Layer: &Layer{Digest: l.blob.Digest, Size: l.blob.Size, State: Fetched}})
	}
	return nil
}

// one brings a blob from the first repository that has it.
func (g *gathering) one(ctx context.Context, l lacking) error {
	var errs []error
	for _, repository := range l.sources {
		from, err := g.source(repository)
		if err == nil {
			err = g.bring(ctx, from, l.blob, false, nil, func(done int64) {
				g.say(News{Stage: StageFetch, Done: g.done + done, Total: g.total})
			})
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%w; name an image that has this layer with --from", errors.Join(errs...))
}

func (g *gathering) source(repository string) (source, error) {
	ref, err := pull.ParseReference(repository)
	if err != nil {
		return source{}, err
	}
	s := source{registry: ref.Registry, repository: ref.Repository}
	if g.request.Authorization != nil {
		s.authorization, err = g.request.Authorization(repository)
	}
	return s, err
}
