package managerclient

import (
	"log/slog"

	"respgate/internal/respconn"
)

// Events of the machine. Those of a link carry the attempt they belong to; those of an older attempt are ignored.
type (
	event interface{ isEvent() }

	evStart  struct{ stored loaded }  // the first one
	evTick   struct{}                 // machine.wake has come
	evDialed struct{ attempt uint64 } // connected and authenticated
	evReply  struct {
		attempt uint64
		v       respconn.Value
	} // to the heartbeat in flight
	evFailed struct {
		attempt uint64
		err     error
	} // the link is gone
	evApplied struct{ version uint64 } // every loop has it
	evRefused struct {
		version uint64
		cause   string
	} // control could not apply it
	evSaved struct {
		cluster string
		version uint64
		err     error
	} // the outcome of actSave
	evReconfigure struct {
		cfg    Config
		stored loaded
	} // stored counts only for another cluster or directory
)

func (evStart) isEvent()       {}
func (evTick) isEvent()        {}
func (evDialed) isEvent()      {}
func (evReply) isEvent()       {}
func (evFailed) isEvent()      {}
func (evApplied) isEvent()     {}
func (evRefused) isEvent()     {}
func (evSaved) isEvent()       {}
func (evReconfigure) isEvent() {}

// loaded is what the store held.
type loaded struct {
	topology *Topology
	err      error // errNothingStored is no fault
}

// Actions the shell carries out, in order. None of them blocks it.
type (
	action interface{ isAction() }

	actDial struct {
		attempt uint64
		address string
	}
	actHeartbeat struct {
		attempt uint64
		args    []string
	}
	actClose   struct{ attempt uint64 }
	actDeliver struct{ topology Topology }
	actSave    struct{ topology Topology }
	actLog     struct {
		level slog.Level
		msg   string
		attrs []slog.Attr
	}
)

func (actDial) isAction()      {}
func (actHeartbeat) isAction() {}
func (actClose) isAction()     {}
func (actDeliver) isAction()   {}
func (actSave) isAction()      {}
func (actLog) isAction()       {}
