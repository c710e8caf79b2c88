package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// rig is what the harness takes for a test, outside of one: what fails ends the run, and what was started is ended with it.
type rig struct {
	testing.TB // never used: all that the harness calls is below
	name       string

	mu       sync.Mutex
	cleanups []func()
	errs     []error
	over     bool
}

// onRig runs f, and then what f has left to be cleaned up; also when it is interrupted.
func onRig(ctx context.Context, name string, f func(*rig)) error {
	r := &rig{name: name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r) // ends by itself or by Goexit
	}()
	select {
	case <-done:
	case <-ctx.Done(): // f goes on with servers that are gone until the program ends
		r.fail(ctx.Err())
	}
	cleaned := make(chan struct{})
	go func() { // a cleanup may end its goroutine, as f may
		defer close(cleaned)
		r.clean()
	}()
	<-cleaned
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// clean runs the cleanups, the last one first; one that comes later is run at once.
func (r *rig) clean() {
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.over = true
			r.mu.Unlock()
			return
		}
		f := r.cleanups[n-1]
		r.cleanups = slices.Delete(r.cleanups, n-1, n)
		r.mu.Unlock()
		f()
	}
}

// Cleanup runs f at the end of the row.
func (r *rig) Cleanup(f func()) {
	r.mu.Lock()
	if !r.over {
		r.cleanups = append(r.cleanups, f)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	f()
}

func (r *rig) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.errs, context.Canceled) { // what comes of an interruption explains nothing
		r.errs = append(r.errs, err)
	}
}

// TempDir is a directory that is removed at the end of the row.
func (r *rig) TempDir() string {
	dir, err := os.MkdirTemp("", "respgate-bench-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Helper has nothing to mark: failures have no line here.
func (r *rig) Helper() {}

// Name is that of the row.
func (r *rig) Name() string { return r.name }

// Log is for tests; the program prints figures only.
func (r *rig) Log(...any) {}

// Logf likewise.
func (r *rig) Logf(string, ...any) {}

// Failed is false, so that no log of a server is printed.
func (r *rig) Failed() bool { return false }

// Error notes a failure.
func (r *rig) Error(args ...any) { r.fail(errors.New(fmt.Sprint(args...))) }

// Errorf notes a failure.
func (r *rig) Errorf(format string, args ...any) { r.fail(fmt.Errorf(format, args...)) }

// Fatal notes a failure and ends the row.
func (r *rig) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

// Fatalf notes a failure and ends the row.
func (r *rig) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
