package importer

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// sheet is the file that is being written. It knows of each line which place in the original it comes from.
type sheet struct {
	text    strings.Builder
	sources []place // by line
}

func (s *sheet) bytes() []byte { return []byte(s.text.String()) }

// source returns the place in the original of a line from 1; none for a line that there is not.
func (s *sheet) source(line int) place {
	if line < 1 || line > len(s.sources) {
		return place{}
	}
	return s.sources[line-1]
}

func (s *sheet) comment(format string, args ...any) {
	s.line(0, nil, "# "+fmt.Sprintf(format, args...))
}

func (s *sheet) line(indent int, at *place, text string) {
	from := place{}
	if at != nil {
		from = *at
	}
	s.sources = append(s.sources, from)
	s.text.WriteString(strings.Repeat("  ", indent) + text + "\n")
}

// set writes a key of a pool; word must be plain YAML already: see quote.
func (s *sheet) set(at place, key, word string) { s.line(2, &at, key+": "+word) }

// item writes an item of the list that was opened with a key before.
func (s *sheet) item(at place, word string) { s.line(3, &at, "- "+word) }

// quote returns text as YAML: in quotes, unless it is read as the same text without.
func quote(text string) string {
	quoted := strconv.Quote(text) // its escapes are YAML's, as long as the text is UTF-8, and YAML's always is
	if strings.ContainsAny(text, " \t\r\n\"'\\#,[]{}&*!|>%@`?~") || strings.HasSuffix(text, ":") || strings.HasPrefix(text, "-") {
		return quoted
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil || len(n.Content) != 1 {
		return quoted
	}
	if v := n.Content[0]; v.Kind != yaml.ScalarNode || v.ShortTag() != "!!str" || v.Value != text {
		return quoted
	}
	return text
}
