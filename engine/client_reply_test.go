package engine

import (
	"strings"
	"testing"
)

// TestClientReply: the transcript of Redis 7.0.15, with requests of every kind between. Each is followed by what it answers.
func TestClientReply(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		x, y := r.key("g1", 0), r.key("g2", 0)
		var requests, replies strings.Builder
		for _, step := range []struct{ request, reply string }{
			{"SET " + x + " 1", "+OK\r\n"},
			{"CLIENT REPLY SKIP", ""},
			{"GET " + x, ""},
			{"GET " + x, bulk("1")},
			{"CLIENT REPLY SKIP", ""},
			{"MGET " + x + " " + y, ""},
			{"MGET " + x + " " + y, array(bulk("1"), "$-1\r\n")},
			{"CLIENT REPLY OFF", ""},
			{"SET " + y + " 2", ""},
			{"NOPE", ""},
			{"PING", ""},
			{"MGET " + x + " " + y, ""},
			{"DEL " + x + " " + y, ""},
			{"CLIENT LIST", ""},
			{"CLIENT REPLY SKIP", ""},
			{"SET " + y + " 3", ""},
			{"CLIENT REPLY ON", "+OK\r\n"},
			{"MGET " + x + " " + y, array("$-1\r\n", bulk("3"))},
			{"CLIENT REPLY SKIP", ""},
			{"CLIENT REPLY SKIP", ""},
			{"ECHO a", ""},
			{"ECHO b", bulk("b")},
			{"CLIENT REPLY SKIP", ""},
			{"CLIENT REPLY ON", "+OK\r\n"},
			{"ECHO c", bulk("c")},
			{"CLIENT REPLY SKIP", ""},
			{"CLIENT REPLY OFF", ""},
			{"ECHO d", ""},
			{"RESET", resetReplyText},
			{"ECHO e", bulk("e")},
			{"CLIENT REPLY SKIP", ""},
			{"RESET", ""},
			{"CLIENT REPLY SKIP", ""},
			{"CLIENT LIST", ""},
			{"GET " + y, bulk("3")},
			{"CLIENT REPLY SKIP", ""},
			{"RESET", ""},
			{"PING", "+PONG\r\n"},
			{"CLIENT REPLY OFF", ""},
			{"QUIT", ""},
		} {
			requests.WriteString(req(strings.Split(step.request, " ")...))
			replies.WriteString(step.reply)
		}
		a := r.dial()
		a.send(requests.String())
		a.want(replies.String())
		a.wantClosed()
	})
}

// TestMutedRequestsWaitTheirTurn: replies of others are in order around one that goes nowhere, whichever comes first.
func TestMutedRequestsWaitTheirTurn(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		x, y := r.key("g1", 0), r.key("g2", 0)
		a := r.dial()
		a.do("+OK\r\n", "SET", x, "1")
		a.do("+OK\r\n", "SET", y, "2")
		r.servers["g1"].hold()
		a.send(req("GET", x) + req("CLIENT", "REPLY", "SKIP") + req("GET", y) + req("GET", y) + req("CLIENT", "REPLY", "SKIP") + req("GET", x) + req("GET", y))
		until(t, "all but the first are answered", func() bool { return r.stats("g2").Answered >= 4 })
		r.servers["g1"].open()
		a.want(bulk("1") + bulk("2") + bulk("2"))
		a.do("+PONG\r\n", "PING")
	})
}
