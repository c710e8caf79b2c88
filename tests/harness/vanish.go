package harness

import "testing"

// Vanish makes the server a host that is not there any more: nothing arrives, nothing is closed, and who connects waits
// (where an operating system does not drop SYNs, as Linux does: is accepted, and hears nothing). The connections that are
// open are dead for good: TCP would send again what was lost only seconds after Return, and nobody should wait for that.
func (f *FaultProxy) Vanish(t testing.TB) {
	t.Helper()
	f.Set(ToServer, Fault{Stall: true})
	f.Set(ToClient, Fault{Stall: true})
	f.BreakOpen()
	f.dropSYNs(t)
}

// Return ends Vanish: who connects from now on gets through.
func (f *FaultProxy) Return(t testing.TB) {
	t.Helper()
	f.BreakOpen() // also what was accepted meanwhile
	f.answerSYNs(t)
	f.Heal()
}
