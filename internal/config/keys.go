package config

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// Key is one setting: a leaf of a configuration struct.
type Key struct {
	// Path names it, levels joined by dots: "store.quota". A level that the
	// user names is "*" ("origin.registries.*.ca_file"), a list's element "[]".
	Path string
	// Type is what its value is, for people.
	Type string
	// Value is its value in the struct that was walked; invalid below "*" or "[]".
	Value reflect.Value
}

// Free tells a key below a level that the user names.
func (k Key) Free() bool { return strings.ContainsAny(k.Path, "*[") }

// Keys lists the settings of a configuration struct, in the struct's order.
func Keys(cfg any) []Key {
	var keys []Key
	walk(reflect.Indirect(reflect.ValueOf(cfg)), "", &keys)
	return keys
}

func walk(v reflect.Value, path string, keys *[]Key) {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		*keys = append(*keys, Key{Path: path, Type: typeName(t.Elem()), Value: v})
	case isScalar(t):
		*keys = append(*keys, Key{Path: path, Type: typeName(t), Value: v})
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			name, squash := fieldName(field)
			switch {
			case squash:
				walk(v.Field(i), path, keys)
			case name != "":
				walk(v.Field(i), join(path, name), keys)
			}
		}
	case t.Kind() == reflect.Map, t.Kind() == reflect.Slice && !isScalar(t.Elem()):
		walkBelow(v, path, keys)
	default:
		*keys = append(*keys, Key{Path: path, Type: typeName(t), Value: v})
	}
}

// walkBelow lists the keys of a map's or a list's elements once, from the type.
func walkBelow(v reflect.Value, path string, keys *[]Key) {
	below := path + "[]"
	if v.Kind() == reflect.Map {
		below = join(path, "*")
	}
	var found []Key
	walk(reflect.New(v.Type().Elem()).Elem(), below, &found)
	for _, k := range found {
		k.Value = reflect.Value{}
		*keys = append(*keys, k)
	}
}

func fieldName(f reflect.StructField) (name string, squash bool) {
	name, options, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
	if !f.IsExported() || name == "-" {
		return "", false
	}
	return name, options == "squash"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textType) {
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface:
		return false
	}
	return true
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[Size](), t.Kind() == reflect.Int64:
		return "size" // a plain 64-bit number is one of bytes; counts are int
	case t.Kind() == reflect.Slice:
		return "list"
	case reflect.PointerTo(t).Implements(textType), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true/false"
	}
	return "number"
}

// nearest is the known name that was probably meant, or "".
func nearest(path string, keys []Key) string {
	best, distance := "", len(path)/3+1
	for _, k := range keys {
		if d := editDistance(path, k.Path); d <= distance {
			best, distance = k.Path, d-1
		}
	}
	if best != "" {
		return best
	}
	// The right name at another level is the other common slip.
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, k := range keys {
		if strings.HasSuffix(k.Path, "."+last) {
			return k.Path
		}
	}
	return ""
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
