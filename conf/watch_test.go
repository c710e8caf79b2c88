package conf

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a Watcher with its reports. Nothing in these tests waits for a time to pass: a look that comes too late only makes
// them slower.
type watched struct {
	t       *testing.T
	changes chan string // content of the file at each change
	looks   chan bool   // whether each look found a change
	failed  chan error
}

func watch(t *testing.T, path string, opts WatchOptions) *watched {
	t.Helper()
	w := &watched{t: t, changes: make(chan string, 1000), looks: make(chan bool, 1000), failed: make(chan error, 1000)}
	if opts.Debounce == 0 {
		opts.Debounce = 5 * time.Millisecond
	}
	if opts.Poll == 0 {
		opts.Poll = time.Hour
	}
	opts.Failed = func(err error) { w.failed <- err }
	opts.checked = func(changed bool) {
		select {
		case w.looks <- changed:
		default: // nobody counts that many
		}
	}
	watcher, err := Watch(path, opts, func() {
		data, err := os.ReadFile(path)
		if err != nil {
			data = []byte(err.Error())
		}
		w.changes <- string(data)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watcher.Close)
	return w
}

const patience = 30 * time.Second

// look waits for one look at the file and returns whether it found a change.
func (w *watched) look() bool {
	w.t.Helper()
	return receive(w.t, w.looks, "look at the file")
}

// until waits for a change after which the file has the content.
func (w *watched) until(content string) {
	w.t.Helper()
	for receive(w.t, w.changes, "change to "+content) != content {
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("not reached")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir is t.TempDir without symbolic links on the way, so that a test knows which directories are watched.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

func TestWatchRewrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "respgate.yml")
	write(t, path, "a")
	w := watch(t, path, WatchOptions{})
	if w.look() {
		t.Fatal("a change at the start, without one")
	}
	for _, content := range []string{"b", "c", "d"} {
		write(t, path, content)
		w.until(content)
	}
}

// Editors and configuration tools write a file beside it and rename it.
func TestWatchRenameReplace(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	path := filepath.Join(dir, "respgate.yml")
	write(t, path, "0")
	w := watch(t, path, WatchOptions{})
	for _, content := range []string{"1", "2", "3"} {
		write(t, path+".new", content)
		must(t, os.Rename(path+".new", path))
		w.until(content)
	}
}

// A Kubernetes ConfigMap: respgate.yml -> ..data/respgate.yml, ..data -> a directory with a date; an update replaces ..data.
func TestWatchConfigMap(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	publish := func(version string) {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "respgate.yml"), version)
		must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	publish("..2026_1")
	path := filepath.Join(dir, "respgate.yml")
	must(t, os.Symlink("..data/respgate.yml", path))
	w := watch(t, path, WatchOptions{})
	w.look()
	for _, version := range []string{"..2026_2", "..2026_3"} {
		old, err := os.Readlink(filepath.Join(dir, "..data"))
		must(t, err)
		publish(version)
		must(t, os.RemoveAll(filepath.Join(dir, old)))
		w.until(version)
	}
}

// A file that is linked from elsewhere is watched where it is, and the link where that is.
func TestWatchSymlink(t *testing.T) {
	t.Parallel()
	dir, other := tempDir(t), tempDir(t)
	write(t, filepath.Join(other, "real.yml"), "a")
	path := filepath.Join(dir, "respgate.yml")
	must(t, os.Symlink(filepath.Join(other, "real.yml"), path))
	w := watch(t, path, WatchOptions{})
	w.look()
	write(t, filepath.Join(other, "real.yml"), "b")
	w.until("b")
	write(t, filepath.Join(other, "next.yml"), "c")
	must(t, os.Symlink(filepath.Join(other, "next.yml"), path+".new"))
	must(t, os.Rename(path+".new", path))
	w.until("c")
	write(t, filepath.Join(other, "next.yml"), "d")
	w.until("d")
}

// A writer that truncates first may be seen half-way; the whole file is seen in the end.
func TestWatchTruncatedWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "respgate.yml")
	write(t, path, "whole")
	w := watch(t, path, WatchOptions{})
	w.look()
	write(t, path, "")
	w.until("")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer f.Close()
	for _, part := range []string{"who", "le"} {
		_, err := f.WriteString(part)
		must(t, err)
	}
	w.until("whole")
}

func TestWatchDeletionAndCreation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "respgate.yml")
	write(t, path, "a")
	w := watch(t, path, WatchOptions{})
	w.look()
	must(t, os.Remove(path))
	if err := receive(t, w.failed, "report of the deletion"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("unexpected failure: %v", err)
	}
	write(t, path, "b")
	w.until("b")
	must(t, os.Remove(path))
	receive(t, w.failed, "second report of a deletion")
	write(t, path, "c")
	w.until("c")
}

// The directory may go with the file, and another of its name may come.
func TestWatchDirectoryReplaced(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(tempDir(t), "etc", "respgate")
	must(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, "respgate.yml")
	write(t, path, "a")
	w := watch(t, path, WatchOptions{})
	w.look()
	must(t, os.RemoveAll(filepath.Dir(dir)))
	receive(t, w.failed, "report of the deletion")
	must(t, os.MkdirAll(dir, 0o700))
	write(t, path, "b")
	w.until("b")
	must(t, os.Rename(dir, dir+".old"))
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, "c")
	w.until("c")
	write(t, path, "d")
	w.until("d")
}

func TestWatchIdenticalContent(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	path := filepath.Join(dir, "respgate.yml")
	write(t, path, "same")
	w := watch(t, path, WatchOptions{})
	if w.look() {
		t.Fatal("a change at the start")
	}
	write(t, path+".new", "same")
	must(t, os.Rename(path+".new", path))
	if w.look() {
		t.Fatal("a change by a rename of the same content")
	}
	write(t, path+".new", "other") // in one step, so that nothing is seen half-way
	must(t, os.Rename(path+".new", path))
	w.until("other")
	select {
	case content := <-w.changes:
		t.Fatalf("a second change, to %q", content)
	default:
	}
}

// What happens between Load and Watch is not lost.
func TestWatchSinceLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "respgate.yml")
	write(t, path, "after")
	w := watch(t, path, WatchOptions{Digest: digest([]byte("before"))})
	w.until("after")
}

func TestWatchPollsWithoutEvents(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "respgate.yml")
	write(t, path, "a")
	w := watch(t, path, WatchOptions{Poll: time.Millisecond, noEvents: true})
	w.look()
	write(t, path, "b")
	w.until("b")
	must(t, os.Remove(path))
	receive(t, w.failed, "report of the deletion")
	write(t, path, "c")
	w.until("c")
}

// A directory that is never quiet does not keep a change from being seen.
func TestWatchBusyDirectory(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	path := filepath.Join(dir, "respgate.yml")
	write(t, path, "a")
	w := watch(t, path, WatchOptions{Debounce: 20 * time.Millisecond})
	w.look()
	write(t, path, "b")
	noise := filepath.Join(dir, "noise")
	for deadline := time.Now().Add(patience); ; {
		write(t, noise, "x")
		select {
		case content := <-w.changes:
			if content == "b" {
				return
			}
		default:
			if time.Now().After(deadline) {
				t.Fatal("the change was not seen")
			}
		}
	}
}

func TestWatchCloseTwice(t *testing.T) {
	t.Parallel()
	w, err := Watch(filepath.Join(t.TempDir(), "missing.yml"), WatchOptions{}, func() {})
	must(t, err)
	w.Close()
	w.Close()
}

func TestDirectoriesOfLinkLoop(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	must(t, os.Symlink("b", filepath.Join(dir, "a")))
	must(t, os.Symlink("a", filepath.Join(dir, "b")))
	if dirs := directories(filepath.Join(dir, "a", "x.yml")); len(dirs) != 1 || dirs[0] != dir {
		t.Fatalf("directories: %v", dirs)
	}
}
