package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// delimiter joins the levels of a key inside viper. It is not a dot, because
// names of registries have dots.
const delimiter = "::"

// Sources says where settings come from, besides the defaults.
type Sources struct {
	// File is the YAML file. Required says that it must exist: the user named it.
	File     string
	Required bool
	// Environ is os.Environ's form; nil reads no environment.
	Environ []string
	// Set holds key=value pairs from flags, the strongest.
	Set []string
}

// validator is what a configuration struct may implement.
type validator interface{ Validate() error }

// Load fills cfg, a pointer to a struct that holds its defaults. The error
// reports every problem; warnings are worth telling but harmless.
func Load(cfg any, from Sources) (warnings []string, err error) {
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	keys := Keys(cfg)
	if err := readFile(v, from); err != nil {
		return nil, err
	}
	warnings = setEnvironment(v, keys, from.Environ)
	if err := setPairs(v, from.Set); err != nil {
		return warnings, err
	}
	problems := decode(v, cfg, keys) // what could not be read keeps its default
	if c, ok := cfg.(validator); ok {
		problems = append(problems, flatten(c.Validate())...)
	}
	return warnings, describe(problems)
}

func readFile(v *viper.Viper, from Sources) error {
	if from.File == "" {
		return nil
	}
	v.SetConfigFile(from.File)
	v.SetConfigType("yaml")
	err := v.ReadInConfig()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) && !from.Required:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no configuration file at %s; check --config, or leave it out to use the defaults", from.File)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("reading %s: permission denied; make it readable for the user that runs the daemon", from.File)
	}
	return fmt.Errorf("reading %s: %w", from.File, oneLine(err))
}

func oneLine(err error) error { return errors.New(strings.Join(strings.Fields(err.Error()), " ")) }

// EnvName is the environment variable of a key.
func EnvName(path string) string {
	return "SHOAL_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// setEnvironment takes SHOAL_ variables over; an empty one is as good as none. An
// unknown one is only warned of:
// Kubernetes itself sets SHOAL_PORT and its like beside a service named shoal.
func setEnvironment(v *viper.Viper, keys []Key, environ []string) (warnings []string) {
	known := make(map[string]string, len(keys))
	for _, k := range keys {
		if !k.Free() {
			known[EnvName(k.Path)] = k.Path
		}
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "SHOAL_") || value == "" || name == EnvName("config") {
			continue
		}
		path, ok := known[strings.ReplaceAll(name, "__", "_")]
		if !ok {
			warnings = append(warnings, fmt.Sprintf("the environment variable %s names no setting", name))
			continue
		}
		v.Set(strings.ReplaceAll(path, ".", delimiter), value)
	}
	return warnings
}

func setPairs(v *viper.Viper, pairs []string) error {
	for _, pair := range pairs {
		path, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not key=value; write for example --set store.quota=50GiB", pair)
		}
		v.Set(strings.ReplaceAll(path, ".", delimiter), value)
	}
	return nil
}

func decode(v *viper.Viper, cfg any, keys []Key) (problems []error) {
	err := v.UnmarshalExact(cfg, func(c *mapstructure.DecoderConfig) {
		c.DecodeHook = hooks()
		c.ZeroFields = true
	})
	for _, e := range flatten(err) {
		var at *mapstructure.DecodeError
		if !errors.As(e, &at) {
			problems = append(problems, oneLine(e))
		} else if names, ok := strings.CutPrefix(at.Unwrap().Error(), "has invalid keys: "); ok {
			problems = append(problems, unknown(at.Name(), names, keys)...)
		} else {
			problems = append(problems, fmt.Errorf("%s: %w", at.Name(), innermost(at)))
		}
	}
	return problems
}

// unknown tells of each unknown key in a section, and what may be meant.
func unknown(section, names string, keys []Key) (problems []error) {
	for name := range strings.SplitSeq(names, ", ") {
		path := join(section, name)
		problem := fmt.Errorf("%s: there is no such key", path)
		if hint := nearest(path, keys); hint != "" {
			problem = fmt.Errorf("%w; is %s meant?", problem, hint)
		}
		problems = append(problems, problem)
	}
	return problems
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return oneLine(err)
		}
		err = next
	}
}
