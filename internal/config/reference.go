package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference is the table of one daemon's settings for docs/OPERATIONS.md.
func Reference(cfg any) string {
	var b strings.Builder
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range Keys(cfg) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, k.Type, defaultText(k), cell(Meanings[k.Path]))
	}
	return b.String()
}

func defaultText(k Key) string {
	if !k.Value.IsValid() || k.Value.IsZero() && k.Value.Kind() != reflect.Bool && k.Type != "number" && k.Type != "size" {
		return ""
	}
	if k.Value.Kind() == reflect.Slice && k.Value.Len() == 0 {
		return ""
	}
	return "`" + Text(k.Value) + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
