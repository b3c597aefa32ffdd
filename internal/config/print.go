package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the settings as a YAML file that could be used as one, each key
// under a comment with its meaning. There are no secrets to hide: settings hold
// only the names of files that hold them.
func Print(w io.Writer, cfg any) error {
	root := render(reflect.Indirect(reflect.ValueOf(cfg)), "")
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return encoder.Close()
}

func render(v reflect.Value, path string) *yaml.Node {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer && !v.IsNil():
		return render(v.Elem(), path)
	case isScalar(t):
		return scalar(v)
	case t.Kind() == reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		addFields(n, v, path)
		return n
	case t.Kind() == reflect.Map:
		return mapNode(v, path)
	case t.Kind() == reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Len() == 0 || isScalar(t.Elem()) {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, render(v.Index(i), path+"[]"))
		}
		return n
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

func addFields(n *yaml.Node, v reflect.Value, path string) {
	for i := range v.NumField() {
		name, squash := fieldName(v.Type().Field(i))
		if squash {
			addFields(n, v.Field(i), path)
			continue
		}
		if name == "" {
			continue
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
		if below := join(path, name); !(Key{Path: below}).Free() {
			key.HeadComment = wrap(Meanings[below], 96)
		}
		n.Content = append(n.Content, key, render(v.Field(i), join(path, name)))
	}
}

func mapNode(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if v.Len() == 0 {
		n.Style = yaml.FlowStyle
	}
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, k := range keys {
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: k.String()}
		n.Content = append(n.Content, name, render(v.MapIndex(k), join(path, "*")))
	}
	return n
}

func scalar(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: Text(v)}
	if v.Kind() == reflect.String {
		n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	}
	return n
}

// Text writes one value the way that a file would.
func Text(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return duration(value)
	case encoding.TextMarshaler:
		text, err := value.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Int64:
		return Size(v.Int()).String()
	case reflect.Slice:
		return fmt.Sprint(v.Interface())
	case reflect.Float64, reflect.Float32:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

// duration drops the zero units that time.Duration writes: "5m", not "5m0s".
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func wrap(text string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}
