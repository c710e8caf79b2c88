package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Defaults of WatchOptions.
const (
	DefaultDebounce = 150 * time.Millisecond
	DefaultPoll     = 5 * time.Second
)

// maxDebounces bounds how long a directory that never rests can put off a look at the file.
const maxDebounces = 10

// WatchOptions are the choices of Watch.
type WatchOptions struct {
	// Debounce is how long the directories must have been quiet before the file is read; 0 is DefaultDebounce.
	Debounce time.Duration
	// Poll is how often the file is read without any event, for file systems that give none; 0 is DefaultPoll.
	Poll time.Duration
	// Digest is Config.Digest of what is running, so that a change between Load and Watch is seen; "" takes the file as it is.
	Digest string
	// Failed is told why the file cannot be read or watched, each cause once until it passes. May be nil.
	Failed func(error)

	checked  func(changed bool) // told after each look; for tests
	noEvents bool               // polls only; for tests
}

// Watcher follows one file by the events of its directories: of the one that it is in, and of each that has a symbolic link on
// the way to it. A watch on the file itself would be lost with the first rename. It owns one goroutine and its fsnotify.Watcher.
type Watcher struct {
	path    string // absolute
	opts    WatchOptions
	changed func()
	events  *fsnotify.Watcher // nil: polls only
	last    string            // digest of what was last told
	unread  string            // last cause told of a file that cannot be read; "" if it can
	unseen  string            // last cause told of directories that cannot be watched; "" if they can
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
}

// Watch calls changed, from a goroutine of its own and never twice at a time, after each change of the file's content: written,
// replaced by rename, swapped by symbolic link, deleted and created again. What is there then may be half a file: Load tells.
// changed may not call Close. Where events cannot be had, polling remains, and Failed is told.
func Watch(path string, opts WatchOptions, changed func()) (*Watcher, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	if opts.Debounce <= 0 {
		opts.Debounce = DefaultDebounce
	}
	if opts.Poll <= 0 {
		opts.Poll = DefaultPoll
	}
	w := &Watcher{path: abs, opts: opts, changed: changed, last: opts.Digest, stop: make(chan struct{}), done: make(chan struct{})}
	if !opts.noEvents {
		if w.events, err = fsnotify.NewWatcher(); err != nil {
			w.fail(&w.unseen, fmt.Errorf("watch %s: no events, the file is polled: %w", path, err))
		}
	}
	w.follow()
	if w.last == "" {
		if data, err := readFile(abs); err == nil {
			w.last = digest(data)
		}
	}
	go w.run()
	return w, nil
}

// Close ends the watch. When it returns, changed is not called any more.
func (w *Watcher) Close() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
}

func (w *Watcher) run() {
	defer close(w.done)
	var events chan fsnotify.Event
	var errs chan error
	if w.events != nil {
		defer w.events.Close()
		events, errs = w.events.Events, w.events.Errors
	}
	poll := time.NewTicker(w.opts.Poll)
	defer poll.Stop()
	settle := time.NewTimer(0) // a first look: the file may have changed since it was loaded
	defer settle.Stop()
	var first time.Time // event since the last look; zero if there was none
	for {
		select {
		case <-w.stop:
			return
		case event := <-events:
			if event.Op == fsnotify.Chmod {
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			if time.Since(first) < maxDebounces*w.opts.Debounce {
				settle.Reset(w.opts.Debounce)
			}
			continue
		case err := <-errs: // the queue ran over: events are missing
			w.fail(&w.unseen, fmt.Errorf("watch %s: %w", w.path, err))
			settle.Reset(w.opts.Debounce)
			continue
		case <-settle.C:
		case <-poll.C:
		}
		first = time.Time{}
		w.look()
	}
}

// look reads the file and tells whether it has changed. The directories come first: what happens after they are watched gives an
// event, what happened before is read.
func (w *Watcher) look() {
	w.follow()
	changed := false
	data, err := readFile(w.path)
	if err != nil {
		w.fail(&w.unread, fmt.Errorf("watch: %w", err))
	} else {
		w.unread = ""
		if now := digest(data); now != w.last {
			w.last, changed = now, true
			w.changed()
		}
	}
	if w.opts.checked != nil {
		w.opts.checked(changed)
	}
}

// follow watches the directories that matter now, and no others.
func (w *Watcher) follow() {
	if w.events == nil {
		return
	}
	dirs := directories(w.path)
	for _, dir := range w.events.WatchList() {
		if !slices.Contains(dirs, dir) {
			_ = w.events.Remove(dir) // it may be gone, and its watch with it
		}
	}
	watched := true
	for _, dir := range dirs {
		// Also where there is a watch already: the directory of that name may be another one by now.
		if err := w.events.Add(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			watched = false
			w.fail(&w.unseen, fmt.Errorf("watch %s: the file is polled: %w", dir, err))
		}
	}
	if watched {
		w.unseen = ""
	}
}

// fail tells err unless it is what was told last.
func (w *Watcher) fail(told *string, err error) {
	if text := err.Error(); w.opts.Failed != nil && text != *told {
		*told = text
		w.opts.Failed(err)
	}
}

// maxLinks is where Linux gives up resolving a path, too.
const maxLinks = 40

// directories returns the directory of the file at path, which is absolute, and those of the symbolic links on the way to it. If
// a part of the path is missing, the directory that it is missing from comes last.
func directories(path string) []string {
	var dirs []string
	add := func(dir string) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err == nil && info.Mode()&os.ModeSymlink != 0 && links < maxLinks {
			links++
			add(at)
			target, err := os.Readlink(next)
			if err != nil {
				return dirs
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		}
		if err != nil || len(rest) == 0 || !info.IsDir() {
			add(at)
			return dirs
		}
		at = next
	}
	return dirs
}
