package chunk

import "fmt"

// What pins are bounded by.
const (
	MaxPins    = 4096    // pins in one store
	MaxPinned  = 1000000 // objects under one pin
	maxPinName = 128
)

// CheckPin tells whether a pin may have this name, 1 to 128 of a-z, 0-9, dot,
// underscore and hyphen, and so many objects.
func CheckPin(name string, objects int) error {
	if name == "" || len(name) > maxPinName {
		return fmt.Errorf("%w: a name of %d bytes, not 1 to %d", ErrPin, len(name), maxPinName)
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: the name %q has other characters than a-z, 0-9, '.', '_' and '-'", ErrPin, name)
		}
	}
	if objects > MaxPinned {
		return fmt.Errorf("%w: %d objects under %s, %d at most", ErrPin, objects, name, MaxPinned)
	}
	return nil
}
