package engine

// muting is what CLIENT REPLY has made of a client: requests are executed, and their replies go nowhere. Pushes still come.
type muting uint8

const (
	muteNone muting = iota
	muteOff
	muteThis // the request being handled, and no other
	muteNext // the request after CLIENT REPLY SKIP
)

// silent reports that what is being handled gets no reply.
func (m muting) silent() bool { return m == muteOff || m == muteThis }

// next is what the following request finds.
func (m muting) next() muting {
	switch m {
	case muteNext:
		return muteThis
	case muteThis:
		return muteNone
	}
	return m
}

// setReplies is CLIENT REPLY ON|OFF|SKIP.
func (c *client) setReplies(mode []byte) {
	switch {
	case equalFold(mode, "on"):
		c.muted = muteNone
		c.respond(okReply)
	case equalFold(mode, "off"):
		c.muted = muteOff
	case equalFold(mode, "skip"):
		if c.muted != muteOff {
			c.muted = muteNext
		}
	default:
		c.replyError(syntaxError)
	}
}
