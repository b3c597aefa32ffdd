package config

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "4096": 4096, "10GiB": 10 << 30, "10 gib": 10 << 30, "1.5GiB": 3 << 29,
		"500MB": 500e6, "7B": 7, " 1TiB ": 1 << 40,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "ten", "-1", "-1GiB", "1.5", "1e3", "99999999TiB", "NaNGiB", "InfGiB", "10GB/s"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, text := range []string{"0", "10GiB", "1.5MB", "-3", "9223372036854775807", "8388607TiB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, size)
		}
		if again, err := ParseSize(size.String()); err != nil || again != size {
			t.Fatalf("ParseSize(%q) = %d, written %s, read back %d, %v", text, size, size, again, err)
		}
	})
}
