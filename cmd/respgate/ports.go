package main

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
)

// ports are the listeners of the process itself: admin, metrics, twemproxy's stats. A new address is bound before the old
// one is given up, so that a port that is taken leaves everything as it was.
type ports struct {
	log  *slog.Logger
	mu   sync.Mutex
	open map[string]*port

	serving sync.WaitGroup
}

type port struct {
	address string
	l       net.Listener
}

// service is what answers on a port; it owns the listener it is given and returns when that is closed.
type service struct {
	name    string
	address string // "" = no such port
	serve   func(net.Listener) error
}

// change binds what is new in want. commit starts the services on them and closes what is not wanted any more; rollback
// gives the new ones back.
func (p *ports) change(want []service) (commit, rollback func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := map[string]*port{}
	rollback = func() {
		for _, f := range fresh {
			f.l.Close()
		}
	}
	for _, s := range want {
		if old := p.open[s.name]; s.address == "" || old != nil && old.address == s.address {
			continue
		}
		l, err := p.bind(s.address)
		if err != nil {
			rollback()
			return nil, nil, fmt.Errorf("%s port: %w", s.name, err)
		}
		fresh[s.name] = &port{s.address, l}
	}
	return func() { p.commit(want, fresh) }, rollback, nil
}

// bind opens the address. One that another service has now changes hands without being closed: two services may swap.
func (p *ports) bind(address string) (net.Listener, error) {
	for _, o := range p.open {
		if o.address != address {
			continue
		}
		f, err := o.l.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return net.FileListener(f)
	}
	return net.Listen("tcp", address)
}

func (p *ports) commit(want []service, fresh map[string]*port) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range want {
		f := fresh[s.name]
		if old := p.open[s.name]; old != nil && (f != nil || s.address == "") {
			old.l.Close()
			delete(p.open, s.name)
		}
		if f == nil {
			continue
		}
		p.open[s.name] = f
		p.log.Info("listening", "port", s.name, "address", f.l.Addr().String())
		p.serving.Go(func() {
			if err := s.serve(f.l); err != nil {
				p.log.Error("port failed", "port", s.name, "address", s.address, "cause", err.Error())
			}
		})
	}
}

// close gives all of them up, and returns when nobody serves any more.
func (p *ports) close() {
	defer p.serving.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, o := range p.open {
		o.l.Close()
		delete(p.open, name)
	}
}
