//go:build unix && !linux

package poller

// New returns the platform's best poller.
func New() (Poller, error) { return NewPortable() }
