package report

import (
	"fmt"
	"io"
	"strings"
)

// Table is a Markdown table.
type Table struct {
	Title  string
	Header []string
	rows   [][]string
}

// Add appends a row of as many cells as the header has.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Write prints the table.
func (t *Table) Write(w io.Writer) error {
	var text strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&text, "\n### %s\n\n", t.Title)
	}
	line(&text, t.Header)
	text.WriteString(strings.Repeat("|---", len(t.Header)) + "|\n")
	for _, row := range t.rows {
		line(&text, row)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func line(text *strings.Builder, cells []string) {
	for _, cell := range cells {
		text.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
	}
	text.WriteString("|\n")
}
