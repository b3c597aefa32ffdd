package nodeapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/shoal-project/shoal/chunk"
)

// Range is a part of an object that somebody waits for.
type Range struct {
	Object chunk.Digest `json:"object"`
	Offset int64        `json:"offset"`
	Length int64        `json:"length"`
}

// MaxRanges bounds those of one question.
const MaxRanges = 256

type (
	question struct {
		Ranges []Range `json:"ranges"`
	}
	reasons struct {
		Reasons []string `json:"reasons"`
	}
)

// Why asks what the bytes of ranges wait for now, in words for people; a word is
// empty where the peer knows of no wait.
func (c *Client) Why(ctx context.Context, ranges []Range) ([]string, error) {
	var answer reasons
	if err := c.call(ctx, http.MethodPost, "/v1/remote/why", question{ranges}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Reasons) != len(ranges) {
		return nil, fmt.Errorf("the peer gives %d reasons for %d ranges", len(answer.Reasons), len(ranges))
	}
	return answer.Reasons, nil
}

func (s *Server) why(w http.ResponseWriter, r *http.Request) {
	var request question
	if !read(w, r, maxRequest, &request) {
		return
	}
	if len(request.Ranges) > MaxRanges {
		http.Error(w, fmt.Sprintf("%d ranges are more than %d", len(request.Ranges), MaxRanges), http.StatusBadRequest)
		return
	}
	words := reasons{make([]string, len(request.Ranges))}
	for i, q := range request.Ranges {
		words.Reasons[i] = s.Why(q.Object, q.Offset, q.Length)
	}
	answer(w, words)
}
