package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a program of the lab. It belongs to the lab's goroutine.
type process struct {
	role    string // for people
	name    string // of its log
	address string // host:port that it answers on
	argv    []string
	log     string // file that gets what it prints

	pid  int // 0 before the first start
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended; nil before the first start
}

// exit is the end of a process.
type exit struct {
	process *process
	pid     int
	how     string
}

// stopLimit is how long a process may take to end by itself.
const stopLimit = 3 * time.Second

// start runs the program; its end is sent to exits, which must have room for it.
func (p *process) start(exits chan<- exit) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.role, err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.role, err)
	}
	gone := make(chan struct{})
	p.cmd, p.pid, p.gone = cmd, cmd.Process.Pid, gone
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(gone)
		exits <- exit{process: p, pid: cmd.Process.Pid, how: cmd.ProcessState.String()}
	}()
	return nil
}

func (p *process) running() bool {
	if p.gone == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// signal sends a signal; one that comes too late is no failure.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// end stops the processes together, politely at first, also those that somebody has frozen; after stopLimit, or when hurry
// has something, they are killed. It returns when all are gone.
func end(list []*process, hurry <-chan os.Signal) {
	for _, p := range list {
		if p.running() {
			p.signal(syscall.SIGTERM)
			p.signal(syscall.SIGCONT)
		}
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	for _, p := range list {
		if !p.running() {
			continue
		}
		select {
		case <-p.gone:
			continue
		case <-limit.C:
		case <-hurry:
		}
		kill(list)
		return
	}
}

func kill(list []*process) {
	for _, p := range list {
		if p.running() {
			p.signal(syscall.SIGKILL)
			<-p.gone
		}
	}
}

// logTail is the end of the log, for an error.
func (p *process) logTail() string {
	const most = 2 << 10 // bytes
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	tail, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(tail))
}
