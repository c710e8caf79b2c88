package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"respgate/internal/respconn"
)

// listing is the reply of a list: an array of maps, which RESP2 shows as flat arrays of name, value.
func listing(rows []row) respconn.Value {
	list := make([]respconn.Value, len(rows))
	for i, r := range rows {
		pairs := make([]any, 0, 2*len(r))
		for _, f := range r {
			if rows, ok := f.value.([]row); ok {
				pairs = append(pairs, f.name, listing(rows))
				continue
			}
			pairs = append(pairs, f.name, f.value)
		}
		list[i] = respconn.Fields(pairs...)
	}
	return respconn.List(list...)
}

// eol ends a line of text, as in Redis' INFO.
const eol = "\r\n"

// document is the text of an INFO: sections of "name:value" lines and of tables.
type document struct{ b strings.Builder }

func (d *document) section(title string) {
	if d.b.Len() > 0 {
		d.gap()
	}
	d.b.WriteString("# " + title + eol)
}

// gap is an empty line.
func (d *document) gap() { d.b.WriteString(eol) }

// line adds "name:value".
func (d *document) line(name string, value any) {
	d.b.WriteString(oneLine(name) + ":" + oneLine(fmt.Sprint(value)) + eol)
}

// details adds "name:key=value,key=value", Redis' form for a row.
func (d *document) details(name string, pairs ...any) {
	parts := make([]string, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, fmt.Sprintf("%v=%v", pairs[i], pairs[i+1]))
	}
	d.line(name, strings.Join(parts, ","))
}

// table adds rows under their names, in aligned columns, integers to the right. An empty column at the end takes no room.
func (d *document) table(rows []row, columns ...string) {
	if len(rows) == 0 {
		d.b.WriteString("(none)" + eol)
		return
	}
	grid := [][]string{columns}
	right := make([]bool, len(columns))
	for _, r := range rows {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i], right[i] = r.cell(c)
		}
		grid = append(grid, cells)
	}
	width := make([]int, len(columns))
	for _, cells := range grid {
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, cells := range grid {
		var line strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if right[i] {
				c = pad + c
			} else {
				c += pad
			}
			line.WriteString(c + "  ")
		}
		d.b.WriteString(strings.TrimRight(line.String(), " ") + eol)
	}
}

// cell is the value of a column as a table shows it; number says that it is one.
func (r row) cell(column string) (text string, number bool) {
	i := slices.IndexFunc(r, func(f field) bool { return f.name == column })
	if i < 0 {
		return "", false
	}
	switch v := r[i].value.(type) {
	case int64:
		if v == never {
			return "-", true
		}
		return strconv.FormatInt(v, 10), true
	default:
		return oneLine(fmt.Sprint(v)), false
	}
}

func (d *document) value() respconn.Value { return respconn.Text(d.b.String()) }

// oneLine keeps a value that came from outside within its line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
