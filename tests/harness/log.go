package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ShowLog prints the end of a log of a failed test, or, with RESPGATE_TEST_LOGS=dir, writes all of it into a file there. It does not go
// through t: what t is told comes out when the test has ended, so the reasons of the failure are below the logs, where a report that is
// cut off at its head still has them.
func ShowLog(t testing.TB, name, text string) {
	dir := os.Getenv("RESPGATE_TEST_LOGS")
	if dir == "" {
		if text = excerpt(name, text); text != "" {
			fmt.Fprintf(os.Stderr, "---- %s: log of %s\n%s\n", t.Name(), name, text)
		}
		return
	}
	file := filepath.Join(dir, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()+"-"+name)+".log")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Log(err)
	}
	t.Logf("log of %s: %s", name, file)
}

// excerpt is what a reader wants first: the last lines, and of Redis and Sentinel, which say much, those with the mark of a warning.
// -v shows more.
func excerpt(name, text string) string {
	if testing.Testing() && testing.Verbose() {
		return tail(text, 60)
	}
	for _, sign := range append(alarms, "SIGQUIT: ") {
		if _, rest, found := strings.Cut(text, sign); found {
			return head(sign+rest, 60)
		}
	}
	if !strings.HasPrefix(name, "redis-") {
		return tail(text, 15)
	}
	var warnings strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, " # ") && !routine.MatchString(line) {
			warnings.WriteString(line)
		}
	}
	return tail(warnings.String(), 6)
}

// routine is what each server warns of.
var routine = regexp.MustCompile(`is starting|Redis version|Configuration loaded|Server initialized|overcommit|Sentinel ID is|\+monitor |requested shutdown|ready to exit`)

// alarms are in the log of a program that has gone wrong, at the head of what there is to know.
var alarms = []string{"DATA RACE", "panic:", "fatal error:", "goroutine 1 ["}

// head are the first lines of a text.
func head(text string, lines int) string {
	all := strings.SplitAfterN(text, "\n", lines+1)
	return strings.Join(all[:min(len(all), lines)], "")
}

// tail are the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) > lines {
		all = append([]string{fmt.Sprintf("... %d lines before", len(all)-lines)}, all[len(all)-lines:]...)
	}
	return strings.Join(all, "\n")
}
