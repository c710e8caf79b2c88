package engine

import "unsafe"

// slots map the handles given to the poller to endpoints. A handle is an index and the generation of its slot: an event
// that was reported for a descriptor closed meanwhile, whose number may have been given to another, finds nothing.
//
// The table grows by pages: it is neither copied nor left to the garbage collector while ten thousand clients connect.
type slots struct {
	pages []*[pageSlots]slot
	used  uint32 // slots that were ever given out
	free  []uint32
	drops int64 // since takeDropped
}

type slot struct {
	generation uint32
	ep         endpoint
}

const pageSlots = 256

func (s *slots) at(i uint32) *slot { return &s.pages[i/pageSlots][i%pageSlots] }

func (s *slots) put(ep endpoint) (handle uint64) {
	var i uint32
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		i = s.used
		s.used++
		if i%pageSlots == 0 {
			s.pages = append(s.pages, new([pageSlots]slot))
		}
	}
	t := s.at(i)
	t.ep = ep
	return uint64(t.generation)<<32 | uint64(i)
}

func (s *slots) get(handle uint64) endpoint {
	i := uint32(handle)
	if i >= s.used {
		return nil
	}
	t := s.at(i)
	if t.generation != uint32(handle>>32) {
		return nil
	}
	return t.ep
}

func (s *slots) drop(handle uint64) {
	i := uint32(handle)
	t := s.at(i)
	t.generation++
	t.ep = nil
	s.free = append(s.free, i)
	s.drops++
}

// takeDropped is about the memory of the endpoints dropped since the last call, in bytes.
func (s *slots) takeDropped() int64 {
	n := s.drops * int64(unsafe.Sizeof(client{}))
	s.drops = 0
	return n
}

// each calls f for what is there; f may drop it, and put others.
func (s *slots) each(f func(endpoint)) {
	for i := uint32(0); i < s.used; i++ {
		if ep := s.at(i).ep; ep != nil {
			f(ep)
		}
	}
}
