package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// hooks turn what YAML, the environment and flags give into the fields' types.
func hooks() mapstructure.DecodeHookFunc {
	return mapstructure.ComposeDecodeHookFunc(
		durationHook, sizeHook, listHook, mapstructure.TextUnmarshallerHookFunc(),
	)
}

// durationHook reads "5m". A bare number other than 0 is refused: of what?
func durationHook(_, to reflect.Type, data any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return data, nil
	}
	text := strings.TrimSpace(fmt.Sprint(data))
	if text == "0" {
		return time.Duration(0), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a duration; write a number and a unit, such as 30s or 5m", text)
	}
	return d, nil
}

// sizeHook reads "10GiB" for sizes and for plain 64-bit numbers of bytes.
func sizeHook(from, to reflect.Type, data any) (any, error) {
	isSize := to == reflect.TypeFor[Size]() || to == reflect.TypeFor[int64]()
	if !isSize || from.Kind() == to.Kind() && to != reflect.TypeFor[Size]() {
		return data, nil
	}
	size, err := ParseSize(fmt.Sprint(data))
	if err != nil {
		return nil, err
	}
	return reflect.ValueOf(int64(size)).Convert(to).Interface(), nil
}

// listHook reads "a, b" for a list of texts, and takes one text for a list of one.
func listHook(from, to reflect.Type, data any) (any, error) {
	if from.Kind() != reflect.String || to.Kind() != reflect.Slice || reflect.PointerTo(to).Implements(textType) {
		return data, nil
	}
	var list []string
	for item := range strings.SplitSeq(data.(string), ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list, nil
}
