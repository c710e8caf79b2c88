package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"respgate/internal/respconn"
)

// permission is what a connection may do; a higher one includes the lower ones.
type permission uint8

const (
	anyone   permission = iota // AUTH, HELLO, QUIT, RESET
	reader                     // everything that changes nothing
	operator                   // everything
)

func (p permission) String() string {
	switch p {
	case anyone:
		return "anyone"
	case reader:
		return "reader"
	case operator:
		return "operator"
	}
	return "invalid"
}

const (
	authPause    = 100 * time.Millisecond // before the answer to the first wrong password; doubled with each
	authDoubling = 5                      // times: up to 3.2 s
	authAttempts = 10                     // wrong passwords after which the connection is closed
	alarmEvery   = time.Second            // of wrong passwords in the log
)

// settings is a Config as the sessions use it; immutable.
type settings struct {
	Config
	operatorSum, readerSum [sha256.Size]byte
	generation             uint64 // rises when a password changes
}

func newSettings(cfg Config, generation uint64) *settings {
	return &settings{
		Config:      cfg.withDefaults(),
		operatorSum: sha256.Sum256([]byte(cfg.Password)),
		readerSum:   sha256.Sum256([]byte(cfg.StatsPassword)),
		generation:  generation,
	}
}

// initial is the permission of a connection that has not authenticated.
func (st *settings) initial() permission {
	if st.Password == "" {
		return operator
	}
	return anyone
}

// check says what a password opens. It takes the same time for any password of one length.
func (st *settings) check(password string) (permission, bool) {
	sum := sha256.Sum256([]byte(password))
	isOperator := subtle.ConstantTimeCompare(sum[:], st.operatorSum[:]) == 1
	isReader := subtle.ConstantTimeCompare(sum[:], st.readerSum[:]) == 1
	switch {
	case isOperator && st.Password != "":
		return operator, true
	case isReader && st.StatsPassword != "":
		return reader, true
	}
	return anyone, false
}

// login is AUTH and the AUTH of HELLO. The only user is "default", whom both passwords belong to. ok tells a granted login from a refusal, which is
// the value.
func (s *session) login(user, password string) (refusal respconn.Value, ok bool) {
	st := s.server.settings.Load()
	granted, ok := st.check(password)
	if !ok && user == defaultUser && st.Password == "" {
		granted, ok = operator, true // as Redis does for a user without a password
	}
	if user != defaultUser || !ok {
		return s.loginFailed(), false
	}
	s.failures = 0
	s.grant(granted, st.generation)
	return respconn.Value{}, true
}

// loginFailed answers a wrong password, later each time, and closes the connection in the end.
func (s *session) loginFailed() respconn.Value {
	s.failures++
	if missed, due := s.server.badAuth.ring(s.server.now()); due {
		s.server.log.Warn("wrong password on the admin port", "client", s.remote, "not_logged_before", missed)
	}
	if s.failures >= authAttempts {
		s.closing = true
		return respconn.Errorf("ERR too many wrong passwords, closing the connection")
	}
	s.server.wait(authPause << min(s.failures-1, authDoubling))
	return errWrongPass
}

// alarm lets one event a second through to the log, so that an attacker cannot fill it.
type alarm struct {
	mu     sync.Mutex
	last   time.Time
	missed int
}

// ring says whether the event is to be logged, and how many were not since the last one that was.
func (a *alarm) ring(now time.Time) (missed int, due bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.last.IsZero() && now.Sub(a.last) < alarmEvery {
		a.missed++
		return 0, false
	}
	missed, a.missed, a.last = a.missed, 0, now
	return missed, true
}
