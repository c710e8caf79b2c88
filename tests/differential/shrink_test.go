package differential

import (
	"slices"
	"time"
)

// shrink makes a sequence short that still shows a difference of the same command. It gives up looking for a shorter one
// after the time.
func (s *stage) shrink(q *sequence, d *difference, within time.Duration) (*sequence, *difference) {
	until := time.Now().Add(within)
	try := func(candidate *sequence) bool {
		if time.Now().After(until) || !candidate.wellFormed() {
			return false
		}
		found, err := s.judge(candidate)
		if err != nil || found == nil || found.name != d.name || found.what != d.what {
			return false
		}
		q, d = candidate, found
		return true
	}
	for again := true; again; {
		again = false
		for part := (len(q.batches) + 1) / 2; part > 0; part /= 2 {
			for at := 0; at < len(q.batches); {
				end := min(at+part, len(q.batches))
				if try(q.with(slices.Delete(slices.Clone(q.batches), at, end))) {
					again = true
				} else {
					at += part
				}
			}
		}
		for i := 0; i < len(q.batches); i++ {
			again = shrinkBatch(&q, i, try) || again
		}
	}
	for i := 0; i < len(q.batches); i++ {
		plainer(&q, i, try)
	}
	return q, d
}

func (q *sequence) with(batches []batch) *sequence {
	return &sequence{seed: q.seed, groups: q.groups, batches: batches}
}

// replace is the sequence with another batch at i.
func (q *sequence) replace(i int, b batch) *sequence {
	batches := slices.Clone(q.batches)
	batches[i] = b
	return q.with(batches)
}

// shrinkBatch leaves requests out.
func shrinkBatch(q **sequence, i int, try func(*sequence) bool) bool {
	better := false
	for part := len((*q).batches[i].steps) / 2; part > 0; part /= 2 {
		for at := 0; at < len((*q).batches[i].steps) && len((*q).batches[i].steps) > 1; {
			b := (*q).batches[i]
			end := min(at+part, len(b.steps))
			if end-at == len(b.steps) {
				break
			}
			b.steps = slices.Delete(slices.Clone(b.steps), at, end)
			if try((*q).replace(i, b)) {
				better = true
			} else {
				at += part
			}
		}
	}
	return better
}

// plainer sends a batch whole, its requests one by one and as arrays, if the difference is still there.
func plainer(q **sequence, i int, try func(*sequence) bool) {
	b := (*q).batches[i]
	if b.cut != whole {
		b.cut = whole
		try((*q).replace(i, b))
	}
	for k := range (*q).batches[i].steps {
		b := (*q).batches[i]
		if !b.steps[k].inline {
			continue
		}
		b.steps = slices.Clone(b.steps)
		b.steps[k].inline = false
		try((*q).replace(i, b))
	}
	b = (*q).batches[i]
	if len(b.steps) < 2 || b.late {
		return
	}
	var single []batch
	for k := range b.steps {
		single = append(single, batch{who: b.who, steps: b.steps[k : k+1]})
	}
	try((*q).with(slices.Concat((*q).batches[:i], single, (*q).batches[i+1:])))
}
