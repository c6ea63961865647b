// Command readers prints, as JSON, what docker's and compose's own parsers make of many .env files.
//
// Its arguments are the parser's name and the files; it prints one list with an object for each file, in their order.
package main

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/opts"
)

type reading struct {
	Error  string            `json:"error"`
	Values map[string]string `json:"values"`
}

func docker(path string) (map[string]string, error) {
	lines, err := opts.ReadKVEnvStrings([]string{path}, nil)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		values[name] = value
	}
	return values, nil
}

func compose(path string) (map[string]string, error) {
	return dotenv.ReadWithLookup(func(string) (string, bool) { return "", false }, path)
}

func main() {
	read := map[string]func(string) (map[string]string, error){"docker": docker, "compose": compose}[os.Args[1]]
	readings := []reading{}
	for _, path := range os.Args[2:] {
		values, err := read(path)
		if err != nil {
			readings = append(readings, reading{Error: err.Error()})
			continue
		}
		readings = append(readings, reading{Values: values})
	}
	if err := json.NewEncoder(os.Stdout).Encode(readings); err != nil {
		panic(err)
	}
}
