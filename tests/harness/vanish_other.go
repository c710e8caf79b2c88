//go:build !linux

package harness

import "testing"

// dropSYNs does nothing: what is accepted is stalled.
func (f *FaultProxy) dropSYNs(testing.TB) {}

func (f *FaultProxy) answerSYNs(testing.TB) {}
