//go:build unix && !linux

package poller

// New returns the platform's best poller.
func New() (Poller, error) { return NewPortable() }

// NewHolding is New: there is nothing to hold on to.
func NewHolding() (Poller, error) { return New() }
