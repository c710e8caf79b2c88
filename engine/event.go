package engine

import "respgate/engine/report"

// Event and the kinds of it, for those who know the engine only.
type Event = report.Event

const (
	EventLinkUp       = report.EventLinkUp
	EventLinkLost     = report.EventLinkLost
	EventDialFailed   = report.EventDialFailed
	EventDemoted      = report.EventDemoted
	EventTimeout      = report.EventTimeout
	EventAcceptFailed = report.EventAcceptFailed
	EventResubscribed = report.EventResubscribed
)

// observe hands an event to the observer, which must not block.
func (e *Engine) observe(ev Event) {
	if e.opts.Observe != nil {
		e.opts.Observe(ev)
	}
}
