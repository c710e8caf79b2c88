package manager

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	settle   = 150 * time.Millisecond // after the last event: an editor writes in pieces
	slowPoll = 10 * time.Second       // for file systems without events
)

// Watch reads the file again whenever it may have changed, until ctx ends: on an event in its directory or in that of the file a symbolic link points to,
// on a value of hup, and every ten seconds. It watches directories: a watched file is lost when an editor puts another one in its place.
func (s *Store) Watch(ctx context.Context, hup <-chan struct{}) {
	var events chan fsnotify.Event
	var faults chan error
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		events, faults = w.Events, w.Errors
		err = s.watchDirs(w)
	}
	if err != nil {
		s.log.Warn("no events of the file system: the file is looked at every ten seconds", slog.String("cause", err.Error()))
	}
	poll := time.NewTicker(slowPoll)
	defer poll.Stop()
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	defer settled.Stop()
	s.reload(w) // it may have changed before the watch was on
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.reload(w)
		case <-poll.C:
			s.reload(w)
		case <-settled.C:
			s.reload(w)
		case <-events:
			settled.Reset(settle)
		case <-faults: // an overflow, that is: something was missed
			settled.Reset(settle)
		}
	}
}

// watchDirs adds the directories of the file and of what it points to; those that are watched already stay so.
func (s *Store) watchDirs(w *fsnotify.Watcher) error {
	if err := w.Add(filepath.Dir(s.path)); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return nil // the file is gone for now; its directory tells when it is back
	}
	return w.Add(filepath.Dir(real))
}

func (s *Store) reload(w *fsnotify.Watcher) {
	if w != nil {
		_ = s.watchDirs(w) // a link may point elsewhere now; the poll is the back-up
	}
	if err := s.Reload(); err != nil {
		s.log.Error("file not taken", slog.String("cause", err.Error()))
	}
}
